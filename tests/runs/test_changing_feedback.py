"""A log of feedback that is written to while it is read, and a cache that cannot be used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError, RunError
from haloes.runs import data
from haloes.runs.align import align
from tiny_runs import config, same_result, thumbs, write_rows


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have the file changed between the two times that it is read."""
    select = data._select

    def changed(*args: Any, **kwargs: Any) -> Any:
        change()
        return select(*args, **kwargs)

    monkeypatch.setattr(data, "_select", changed)


def test_a_log_that_grows_is_read_up_to_where_it_began(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = align(config(model, write_rows(tmp_path / "same.jsonl", thumbs(12))), tmp_path / "whole")
    log = write_rows(tmp_path / "log.jsonl", thumbs(12))
    changing(monkeypatch, lambda: write_rows(log, [*thumbs(12), *thumbs(14)[24:]]))

    assert same_result(align(config(model, log), tmp_path / "run"), whole)


@pytest.mark.parametrize("rows", [thumbs(10), thumbs(12)[::-1]], ids=["shorter", "another order"])
def test_a_file_that_was_changed_otherwise_is_told(
    rows: list[dict[str, Any]], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log = write_rows(tmp_path / "log.jsonl", thumbs(12))
    changing(monkeypatch, lambda: write_rows(log, rows))

    with pytest.raises(DataError, match=r"log\.jsonl: the file was changed while it was read; give a copy"):
        align(config(model, log), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_cache_that_is_a_file_is_one_line(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "cache"))

    with pytest.raises(RunError, match=r"cannot be used: Not a directory; set HALOES_CACHE to a folder"):
        align(config(model, thumbs_file), tmp_path / "run")
