"""The claim on a run's folder: one process at a time, and a start that was killed early is no obstacle."""

from pathlib import Path

import pytest

from haloes.errors import ProcessEnded, RunError
from haloes.locks import LOCK, hold_folder
from haloes.progress.contract import NullProgress
from haloes.runs.align import align
from haloes.runs.claim import claimed
from haloes.runs.parts import PartClock
from haloes.training.distributed import Ranks
from tiny_runs import Crash, CrashAt, config, crash, metrics, same_result, save_model, thumbs, write_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "thumbs.jsonl", thumbs(8))


def test_a_run_that_a_process_is_at_is_neither_resumed_nor_started_nor_touched(model: Path, rows: Path, tmp_path: Path):
    cfg, run_dir = config(model, rows), tmp_path / "run"
    crash(cfg, run_dir, step=1)
    with hold_folder(run_dir):
        before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
        with pytest.raises(RunError, match=r"run is in use by process \d+ on "):
            align(cfg, run_dir, resume=True)
        assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before

    assert align(cfg, run_dir, resume=True).num_steps == len(metrics(run_dir))


def test_who_starts_a_run_where_another_has_just_begun_is_refused_and_removes_nothing(
    model: Path, rows: Path, tmp_path: Path
):
    run_dir = tmp_path / "run"
    with hold_folder(run_dir):
        (run_dir / "data").mkdir()
        with pytest.raises(RunError, match=r"run is in use by process"):
            align(config(model, rows), run_dir)
        assert sorted(path.name for path in run_dir.iterdir()) == [LOCK, "data"]


def test_a_run_that_was_killed_before_its_configuration_was_written_starts_anew_in_the_same_folder(
    model: Path, rows: Path, tmp_path: Path
):
    cfg, killed = config(model, rows), tmp_path / "killed"
    whole = align(cfg, tmp_path / "whole")
    (killed / "data" / "train.partial-0123").mkdir(parents=True)
    for name in (LOCK, "data.json", f".config.yaml.{2**22 + 1}-0123abcd.tmp"):
        (killed / name).write_text("{")

    assert same_result(align(cfg, killed), whole)
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.run_dir.iterdir()}
    assert not list((killed / "data").glob("*partial*"))


def test_somebodys_own_folder_is_not_taken_for_a_start_that_was_killed(model: Path, rows: Path, tmp_path: Path):
    (tmp_path / "mine" / "data").mkdir(parents=True)

    with pytest.raises(RunError, match="is not empty and holds no run"):
        align(config(model, rows), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["data"]


def test_an_empty_folder_that_was_there_before_stays_where_a_run_cannot_begin(model: Path, rows: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()

    with pytest.raises(Crash):
        align(config(model, rows), tmp_path / "mine", progress=CrashAt(stage="loading the model"))
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("interrupted", [False, True])
def test_who_is_left_alone_says_how_to_go_on_also_where_torchrun_interrupts_it(interrupted: bool, tmp_path: Path):
    (tmp_path / "metrics.jsonl").touch()
    alone = Ranks(1, 2)

    with (
        pytest.raises(ProcessEnded, match=f"was killed; every saved step is in .* haloes resume {tmp_path}"),
        claimed(tmp_path, alone, PartClock(), resume=False, progress=NullProgress()),
    ):
        _end_of_another(interrupted=interrupted)


@pytest.mark.parametrize("resume", [False, True])
def test_who_is_left_alone_before_the_folder_is_its_own_says_so_too(
    resume: bool, model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("haloes.runs.align.resolve_run", lambda *_, **__: _end_of_another(interrupted=False))
    go_on = f"haloes resume {tmp_path}" if resume else "before the first step, and the same command starts anew"

    with pytest.raises(ProcessEnded, match=f"was killed; .*{go_on}"):
        align(config(model, rows), tmp_path, resume=resume)


@pytest.mark.parametrize("begun", [False, True])
def test_who_is_left_alone_says_that_all_are_started_again_where_they_are(begun: bool, tmp_path: Path):
    if begun:
        (tmp_path / "metrics.jsonl").touch()

    with (
        pytest.raises(ProcessEnded) as ended,
        claimed(tmp_path, Ranks(1, 2), PartClock(), resume=False, progress=NullProgress()),
    ):
        raise ProcessEnded("process 0 of 2 was killed (SIGKILL)", again="1 of 3")
    place = f" from the newest checkpoint in {tmp_path}" if begun else ""
    assert str(ended.value) == f"process 0 of 2 was killed (SIGKILL); starting again (1 of 3){place}"


def _end_of_another(*, interrupted: bool) -> None:
    try:
        raise ProcessEnded("another of the 2 processes was killed")
    finally:
        if interrupted:
            raise KeyboardInterrupt("stopped by SIGTERM")
