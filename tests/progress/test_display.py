"""The display: a line in place on a terminal, a line now and then in a log, on a clock of the test's own."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from haloes.progress.contract import NullProgress
from haloes.progress.display import Display, display_if_seen
from haloes.progress.lines import Stage, terminal_lines
from haloes.progress.time_left import Pace

STEP = {"split": "train", "loss": 0.6931, "reward_margin": 0.12, "reference_point": 0.0, "tokens_per_second": 1234.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def display(file: io.StringIO, clock: Clock, *, width: int = 80) -> Display:
    console = Console(file=file, width=width, highlight=False, force_terminal=file.isatty(), _environ={})
    return Display(console=console, clock=clock)


def in_log(work: Any) -> str:
    file, clock = io.StringIO(), Clock()
    with display(file, clock) as progress:
        work(progress, clock)
    return file.getvalue()


# --- a log


def test_a_log_gets_the_name_of_a_stage_and_a_line_now_and_then_with_counter_and_time_left():
    def work(progress: Display, clock: Clock) -> None:
        progress.stage("answers", 40)
        for _ in range(40):
            clock.now += 5
            progress.advance(1)

    lines = in_log(work).splitlines()

    assert lines[:3] == [
        "answers ...",
        "answers: 3/40, 15 s so far, about 3 min left",
        "answers: 6/40, 30 s so far, about 3 min left",
    ]
    assert len(lines) == 14


def test_a_log_holds_no_control_characters_even_where_colours_are_forced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    file, clock = io.StringIO(), Clock()
    with Display(console=Console(file=file, highlight=False), clock=clock) as progress:
        progress.stage("answers", 2)
        clock.now = 20
        progress.advance(1)
        progress.note("a [note]")

    assert file.getvalue() == "answers ...\nanswers: 1/2, 20 s so far, about 20 s left\na [note]\n"


def test_a_step_that_takes_long_is_told_in_parts():
    def work(progress: Display, clock: Clock) -> None:
        progress.on_start(step=0, num_steps=7)
        for _ in range(2):
            clock.now += 40
            progress.advance(0.25)

    assert in_log(work).splitlines() == [
        "training ...",
        "training: 0/7 and 25% of the next, 40 s so far, about 18 min left",
        "training: 0/7 and 50% of the next, 1 min so far, about 17 min left",
    ]


def test_the_first_and_the_last_step_are_always_told_and_a_validation_stands_beside_the_next():
    def work(progress: Display, clock: Clock) -> None:
        progress.on_start(step=0, num_steps=4)
        for step in range(1, 5):
            clock.now += 2
            progress.on_metrics({**STEP, "step": step})
            if step == 2:
                progress.stage("validation", 3)
                clock.now += 1000
                progress.on_metrics({"split": "validation", "step": step, "auc": 0.75})

    # The indented lines explain the words.
    assert [line for line in in_log(work).splitlines() if not line.startswith("  ")] == [
        "training ...",
        "step 1/4  loss 0.693  margin +0.12  z0 0.00  1,234 tok/s  about 6 s left",
        "validation ...",
        "step 3/4  loss 0.693  margin +0.12  z0 0.00  1,234 tok/s  AUC 0.750  about 2 s left",
        "step 4/4  loss 0.693  margin +0.12  z0 0.00  1,234 tok/s  AUC 0.750",
    ]


def test_a_stage_in_the_midst_of_training_is_announced_once():
    def work(progress: Display, _clock: Clock) -> None:
        progress.on_start(step=0, num_steps=4)
        for step in range(1, 4):
            progress.on_metrics({**STEP, "step": step})
            progress.stage("validation", 3)
            progress.on_metrics({"split": "validation", "step": step})

    assert in_log(work).count("validation ...") == 1


def test_a_run_that_was_resumed_estimates_by_its_own_steps():
    def work(progress: Display, clock: Clock) -> None:
        progress.on_start(step=90, num_steps=100)
        clock.now = 30
        progress.on_metrics({**STEP, "step": 91})

    assert in_log(work).splitlines()[-1].endswith("  about 4 min left")


# --- a terminal


def shown(stage: Stage, *, width: int, now: float = 42.0, is_going: bool = True) -> list[str]:
    return [line.plain for line in terminal_lines(stage, now=now, width=width, is_going=is_going)]


def stage(name: str = "answers before training", *, done: float = 12, total: float | None = 16) -> Stage:
    made = Stage(name, total, Pace(0.0), 0.0, done=done)
    made.pace.report(done, now=42.0)
    return made


def test_a_stage_on_80_columns_has_a_bar_a_counter_and_the_time_left():
    assert shown(stage(), width=80) == ["answers before training  " + "━" * 20 + "  12/16  0:42, 0:14 left"]


def test_a_stage_on_40_columns_keeps_counter_and_time_and_loses_the_bar_and_the_end_of_its_name():
    (line,) = shown(stage("answers before the training of it"), width=40)

    assert len(line) == 40
    assert line.endswith("…  12/16  0:42, 0:14 left")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_numbers_of_a_step_take_a_second_line_where_the_first_is_full(width: int):
    training = stage("training", done=3, total=10)
    training.numbers = "loss 0.693  margin +0.12  z0 0.00  1,234 tok/s"
    lines = shown(training, width=width)

    assert len(lines) == (1 if width == 120 else 2)
    assert "3/10" in lines[0]
    assert lines[-1].endswith(training.numbers)


def test_a_stage_of_unknown_size_shows_its_time():
    assert shown(stage("model", done=0, total=None), width=80) == ["model  0:42"]


def test_a_terminal_keeps_a_line_of_every_stage_that_is_over_and_what_was_left_undone_is_not_shown_as_done():
    file, clock = Terminal(), Clock()
    with pytest.raises(ZeroDivisionError), display(file, clock) as progress:  # noqa: PT012 - the display ends with it
        progress.stage("model")
        clock.now = 3
        progress.stage("answers", 16)
        progress.advance(16)
        clock.now = 9
        progress.stage("judging", 10)
        progress.advance(4)
        raise ZeroDivisionError
    kept = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", file.getvalue())

    assert "model  0:03\n" in kept
    assert "answers  16/16  0:06\n" in kept
    assert "judging  4/10  0:00\n" in kept
    assert "10/10" not in kept


def test_a_display_that_was_closed_opens_again_for_the_next_call():
    file, clock = Terminal(), Clock()
    with display(file, clock) as progress:
        for name in ("one", "two"):
            with progress:
                progress.stage(name)

    assert "one  0:00" in file.getvalue()
    assert "two  0:00" in file.getvalue()


def test_nobody_sees_a_display_in_a_script_whose_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(display_if_seen(), NullProgress)

    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(display_if_seen(), Display)


def test_a_notebook_has_a_display_and_without_ipywidgets_it_writes_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("haloes.progress.display.find_spec", lambda _name: None)

    progress = display_if_seen()
    assert isinstance(progress, Display)
    assert not progress.moves


def test_a_display_that_nobody_reads_any_more_does_not_end_the_work(tmp_path: Path):
    code = (
        "import os, sys\n"
        "from haloes.progress.display import Display\n"
        "with Display() as display:\n"
        "    display.stage('training', 9)\n"
        "    display.note('x' * 9000)\n"
        "    display.advance(9)\n"
        "open(sys.argv[1], 'w').close()\n"
    )
    for stderr in ("2>&1 | true", "2> /dev/full"):
        done = subprocess.run(
            [
                "bash",
                "-c",
                f'"$0" -c "$1" "$2" {stderr}; exit ${{PIPESTATUS[0]}}',
                sys.executable,
                code,
                tmp_path / "done",
            ],
            check=False,
        )
        assert done.returncode == 0
        assert (tmp_path / "done").exists()
        (tmp_path / "done").unlink()
