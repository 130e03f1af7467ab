"""What lies in the cache is whole, whatever happened while it was made."""

from pathlib import Path

import pytest

from haloes.errors import ModelError
from haloes.models.cache import build_once, cache_dir


def write_one(folder: Path) -> None:
    (folder / "part").write_text("whole")


def test_the_chosen_folder_goes_before_the_shared_cache_and_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("HALOES_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "haloes"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "haloes"
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"


def test_whoever_may_read_the_user_s_files_may_read_what_is_kept(tmp_path: Path):
    def build(folder: Path) -> None:
        (folder / "part").touch(mode=0o600)

    (tmp_path / "usual").touch()

    built = build_once(tmp_path / "built", build)

    assert (built / "part").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_is_built_once(tmp_path: Path):
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        write_one(folder)

    first = build_once(tmp_path / "a" / "b", build)
    second = build_once(tmp_path / "a" / "b", build)

    assert first == second == tmp_path / "a" / "b"
    assert (first / "part").read_text() == "whole"
    assert len(calls) == 1


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path):
    def build(folder: Path) -> None:
        write_one(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "b", build)

    assert list(tmp_path.iterdir()) == []


def test_another_process_that_was_first_wins(tmp_path: Path):
    def build(folder: Path) -> None:
        write_one(folder)
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "part").write_text("theirs")

    folder = build_once(tmp_path / "b", build)

    assert (folder / "part").read_text() == "theirs"
    assert [item.name for item in tmp_path.iterdir()] == ["b"]


def test_a_full_disk_is_the_users_to_put_right(tmp_path: Path):
    def build(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"No space left on device.*HALOES_CACHE"):
        build_once(tmp_path / "b", build)
