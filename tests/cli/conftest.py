"""A cache and a folder of their own for the tests of commands."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_place(own_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
