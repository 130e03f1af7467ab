"""A log of feedback that is written to while it is read, and a cache that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError, RunError
from haloes.runs import data
from haloes.runs.align import Run, align
from haloes.runs.config import RunConfig
from haloes.runs.run_folder import read_config
from tiny_runs import CrashAt, config, crash, same_result, thumbs, write_rows


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have the file changed between the two times that it is read."""
    select = data.select_rows

    def changed(*args: Any, **kwargs: Any) -> Any:
        change()
        return select(*args, **kwargs)

    monkeypatch.setattr(data, "select_rows", changed)


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


def stopped(model: Path, log: Path, run_dir: Path, **sections: Any) -> Path:
    """A run that was killed after its second step."""
    crash(config(model, log, **sections), run_dir, step=2)
    return run_dir


def notes_of(run_dir: Path, cfg: RunConfig | None = None) -> tuple[Run, str]:
    """Go on with a run, and return what it said."""
    told = CrashAt()
    notes: list[str] = []
    told.note = notes.append  # type: ignore[method-assign]
    return align(cfg or read_config(run_dir), run_dir, resume=True, progress=told), "\n".join(notes)


@pytest.mark.parametrize("share", [0.25, "auto"])
def test_a_run_whose_log_has_grown_since_goes_on_with_the_rows_that_it_read(
    share: float | str, model: Path, tmp_path: Path
):
    log = write_rows(tmp_path / "log.jsonl", thumbs(12))
    settings = config(model, log, feedback={"validation_share": share})
    whole = align(settings, tmp_path / "whole")
    crash(settings, tmp_path / "run", step=2)
    write_rows(log, [*thumbs(12), *thumbs(40)[24:]])

    run, notes = notes_of(tmp_path / "run", settings)

    assert same_result(run, whole)
    assert f"{log} has grown by 56 lines since this run began: they are not part of it" in notes


def changed_before(log: Path) -> None:
    """A row of the old part is another."""
    write_rows(log, [*thumbs(12)[::-1], *thumbs(14)[24:]])


def longer_line(log: Path) -> None:
    """The last line of the old part goes on."""
    with log.open("a") as stream:
        stream.write(" ")


def shorter(log: Path) -> None:
    write_rows(log, thumbs(11))


@pytest.mark.parametrize("change", [changed_before, longer_line, shorter])
def test_a_log_whose_old_part_changed_is_another_one(change: Callable[[Path], None], model: Path, tmp_path: Path):
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(json.dumps(row) for row in thumbs(12)))
    run_dir = stopped(model, log, tmp_path / "run")
    change(log)

    with pytest.raises(RunError, match="was started with another data set"):
        align(read_config(run_dir), run_dir, resume=True)


def test_rows_that_have_to_be_encoded_again_are_asked_for_where_the_log_has_grown(model: Path, tmp_path: Path):
    log = write_rows(tmp_path / "log.jsonl", thumbs(12))
    run_dir, size = stopped(model, log, tmp_path / "run"), log.stat().st_size
    write_rows(log, thumbs(14))
    next((run_dir / "data" / "train").iterdir()).write_bytes(b"damaged")

    with pytest.raises(RunError, match=f"has more rows now than this run read: .*head -c {size} "):
        align(read_config(run_dir), run_dir, resume=True)


def test_with_changes_allowed_the_new_rows_are_read(model: Path, tmp_path: Path):
    log = write_rows(tmp_path / "log.jsonl", thumbs(12))
    run_dir = stopped(model, log, tmp_path / "run")
    write_rows(log, thumbs(14))

    align(read_config(run_dir), run_dir, resume=True, allow_changes=True)

    assert json.loads((run_dir / "data.json").read_text())["rows"]["read"] == 28


def test_a_cache_that_is_a_file_is_one_line(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "cache"))

    with pytest.raises(RunError, match=r"cannot be used: Not a directory; set HALOES_CACHE to a folder"):
        align(config(model, thumbs_file), tmp_path / "run")
