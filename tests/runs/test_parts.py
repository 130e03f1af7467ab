"""The time and the threads of a run are those of all its parts; an interrupt says what is left and how to go on."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from haloes.report import facts
from haloes.report.load import load_run
from haloes.runs.align import align
from haloes.runs.parts import begin_part, end_part, total_seconds
from haloes.runs.run_folder import read_config
from haloes.store import read_json
from tiny_runs import CrashAt, config, crash

STARTED = "2026-01-02T03:04:05+00:00"


def test_the_time_of_a_run_is_that_of_all_its_parts_and_each_has_its_threads(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = config(model, thumbs_file, train={"threads": 2}, samples={"prompts": 0})
    crash(cfg, tmp_path / "run", step=1)
    first = read_json(tmp_path / "run" / "environment.json")["parts"]
    align(read_config(tmp_path / "run", {"train": {"threads": 1}}), tmp_path / "run", resume=True)

    environment = read_json(tmp_path / "run" / "environment.json")
    assert environment["parts"][:1] == first
    assert [part["threads"] for part in environment["parts"]] == [2, 1]
    assert all(part["seconds"] > 0 for part in environment["parts"])
    assert environment["seconds"] == sum(part["seconds"] for part in environment["parts"])
    assert environment["threads"] == 1
    told = dict(facts.speed(load_run(tmp_path / "run")))
    assert told["Time"].endswith(" in 2 parts")
    assert told["Threads"] == "2, then 1"
    assert "2, then 1" in (tmp_path / "run" / "report.html").read_text()
    assert "| Threads | 2, then 1 |" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_a_part_that_was_killed_lasted_until_its_last_step_was_written(tmp_path: Path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.touch()
    seen = datetime.fromisoformat(STARTED).timestamp() + 90
    os.utime(metrics, (seen, seen))
    killed = begin_part([], tmp_path, started=STARTED, threads=2)
    resumed = begin_part(killed, tmp_path, started="2026-01-02T04:00:00+00:00", threads=2)

    assert resumed[0]["seconds"] == pytest.approx(90, abs=1)
    assert "seconds" not in resumed[1]
    assert total_seconds(end_part(resumed, started="2026-01-02T04:00:00+00:00", seconds=10)) == pytest.approx(
        100, abs=1
    )


def test_a_part_that_never_began_changes_nothing():
    parts = [{"started": STARTED, "threads": 2, "seconds": 5.0}]

    assert end_part(parts, started="another time", seconds=9) == parts


def test_an_interrupt_before_the_first_step_says_that_nothing_is_left(model: Path, thumbs_file: Path, tmp_path: Path):
    stop = CrashAt(stage="answers before training", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="interrupted before the first step; nothing is left"):
        align(config(model, thumbs_file), tmp_path / "run", progress=stop)

    assert not (tmp_path / "run").exists()


def test_an_interrupt_after_the_last_step_says_how_to_go_on(model: Path, thumbs_file: Path, tmp_path: Path):
    stop = CrashAt(stage="answers after training", error=KeyboardInterrupt("stopped by SIGTERM"))
    said = (
        f"stopped by SIGTERM; every saved step is in {tmp_path / 'run'}. Go on with: haloes resume {tmp_path / 'run'}"
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        align(config(model, thumbs_file), tmp_path / "run", progress=stop)

    assert str(caught.value) == said
    assert align(read_config(tmp_path / "run"), tmp_path / "run", resume=True).scores
