"""Fixtures of the recipes' tests: a tiny model, feedback that it can learn from, and a cache that nobody else uses."""

from pathlib import Path

import pytest

from tiny_runs import pairs, save_model, thumbs, write_rows


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("tiny") / "model", seed=1)


@pytest.fixture
def thumbs_file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "thumbs.jsonl", thumbs())


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "pairs.jsonl", pairs())
