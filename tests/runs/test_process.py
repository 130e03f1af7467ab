"""Ctrl-C: the first ends a run after the step with everything saved, the second at once; kill -9 costs a step."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import haloes
from haloes.errors import ConfigError, Interrupted
from haloes.runs.align import align
from haloes.runs.process import Stop, computing_with, end_undisturbed, interrupt_on_terminate, stop_on_interrupt
from haloes.runs.run_folder import read_config
from haloes.store import read_json
from haloes.training.settings import TrainSettings
from tiny_runs import CrashAt, config, flags, metrics, same_result

LOSS = '''
"""KTO that halts in a step, until it is told to go on, where the environment asks for it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from haloes.losses._contract import Needs
from haloes.losses.kto import KTO

PLACE, STEP = os.environ.get("HALT_PLACE"), int(os.environ.get("HALT_STEP", "0"))
done = 0


@dataclass(frozen=True, kw_only=True)
class Halting:
    needs: ClassVar[Needs] = KTO.needs
    metrics: ClassVar[tuple[str, ...]] = KTO.metrics
    beta: float = 0.1

    def __call__(self, batch):
        global done
        tokens = batch.completions.policy.token_T
        # Not where a run's set-up tries the loss, on made-up answers of twelve tokens in all.
        in_step = tokens.requires_grad and len(tokens) > 12
        done += in_step
        if PLACE and done == STEP and in_step:
            Path(PLACE, "reached").touch()
            while not Path(PLACE, "go").exists():
                time.sleep(0.01)
        return KTO(beta=self.beta)(batch)
'''


class SignalAt(CrashAt):
    """A progress display that sends a signal to its own process when the numbers of a step are out."""

    def __init__(self, step: int, *numbers: signal.Signals) -> None:
        super().__init__()
        self.step, self.numbers = step, numbers

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        if numbers["split"] == "train" and numbers["step"] == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


# --- the handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_second_interrupts(number: signal.Signals):
    with stop_on_interrupt() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_a_closed_terminal_stops_a_command_as_sigterm_does_and_nohup_is_heeded():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGHUP"), interrupt_on_terminate():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with interrupt_on_terminate(), stop_on_interrupt() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back_also_after_an_error():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with contextlib.suppress(ValueError), stop_on_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before[0]
        raise ValueError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_nothing_is_changed():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_interrupt() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [(False, True)]


def test_sigterm_is_a_ctrl_c_inside_the_block_and_what_it_was_after_it():
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"), interrupt_on_terminate():
        signal.raise_signal(signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_sigterm_that_somebody_ignores_stays_ignored():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupt_on_terminate():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# --- a run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_is_saved_after_the_step_and_goes_on_as_if_it_had_not_been(
    number: signal.Signals, model: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = config(model, thumbs_file, train={"epochs": 2, "checkpoint_every": 50})
    with pytest.raises(Interrupted, match="stopped after step 2 of 6"):
        align(cfg, tmp_path / "run", progress=SignalAt(2, number))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]
    progress = CrashAt()
    run = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True, progress=progress)

    assert "training from 2 of 6" in progress.stages
    assert same_result(align(cfg, tmp_path / "straight"), run)


def test_a_second_signal_does_not_wait_for_the_step(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, train={"checkpoint_every": 50})
    with pytest.raises(KeyboardInterrupt):
        align(cfg, tmp_path / "run", progress=SignalAt(2, signal.SIGINT, signal.SIGINT))

    assert not (tmp_path / "run" / "checkpoints").exists()
    run = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)
    assert same_result(align(cfg, tmp_path / "straight"), run)


# --- a process


@contextmanager
def process(arguments: list[str], place: Path, *, halt_at: int) -> Iterator[subprocess.Popen[str]]:
    """`haloes` in a process of its own, which has halted in this of its own steps."""
    place.mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(Path(haloes.__file__).parents[1]),
        "HALT_PLACE": str(place),
        "HALT_STEP": str(halt_at),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "haloes", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            while not (place / "reached").exists() and running.poll() is None:
                time.sleep(0.02)
            yield running
        finally:
            running.kill()


def test_ctrl_c_and_then_kill_9_and_the_result_is_bit_equal(model: Path, thumbs_file: Path, tmp_path: Path):
    (tmp_path / "loss.py").write_text(LOSS)
    run_dir, loss = tmp_path / "run", f"{tmp_path / 'loss.py'}:Halting"
    arguments = [*flags(model, train__epochs="2", train__checkpoint_every="2"), "--loss", loss, "--out", str(run_dir)]

    with process(["train", str(thumbs_file), *arguments], tmp_path / "first", halt_at=3) as running:
        running.send_signal(signal.SIGINT)
        (tmp_path / "first" / "go").touch()
        _, errors = running.communicate()
    assert running.returncode == 130
    assert f"haloes: stopped after step 3 of 6, and saved. Go on with: haloes resume {run_dir}" in errors
    assert "Traceback" not in errors
    assert [line["step"] for line in metrics(run_dir)] == [1, 2, 3]

    with process(["resume", str(run_dir)], tmp_path / "second", halt_at=2) as running:
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert [line["step"] for line in metrics(run_dir)] == [1, 2, 3, 4]

    resumed = align(read_config(run_dir), run_dir, resume=True)
    straight = align(read_config(run_dir), tmp_path / "straight")
    assert same_result(straight, resumed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_plan_that_is_stopped_leaves_nothing_behind(
    number: signal.Signals, model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "loss.py").write_text(LOSS)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    arguments = [*flags(model), "--loss", f"{tmp_path / 'loss.py'}:Halting"]

    with process(["plan", str(thumbs_file), *arguments], tmp_path / "first", halt_at=1) as running:
        assert list((tmp_path / "temporary").glob("haloes-plan-*"))
        running.send_signal(number)
        _, errors = running.communicate()

    assert running.returncode == 130
    assert "Traceback" not in errors
    assert not list((tmp_path / "temporary").glob("haloes-plan-*"))


def test_a_run_computes_with_the_threads_that_it_is_given_and_leaves_torch_s_as_they_were(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    before = torch.get_num_threads()
    align(config(model, thumbs_file, train={"threads": before + 1}, samples={"prompts": 0}), tmp_path / "run")

    assert read_json(tmp_path / "run" / "environment.json")["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_left_out_they_are_torch_s():
    before = torch.get_num_threads()
    with computing_with(None):
        assert torch.get_num_threads() == before


def test_there_is_at_least_one():
    with pytest.raises(ConfigError, match=r"train\.threads must be at least 1"):
        TrainSettings(threads=0)


def test_who_ends_already_is_not_interrupted_by_another_signal():
    try:
        with interrupt_on_terminate():
            end_undisturbed()
            os.kill(os.getpid(), signal.SIGTERM)

        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_handler_of_somebody_else_stays_where_a_process_ends():
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        end_undisturbed()
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("number", "started_by", "is_short"), [("SIGTERM", "", True), ("SIGINT", "", False), ("SIGINT", "torchrun", True)]
)
def test_time_is_short_some_seconds_after_a_signal_that_a_kill_follows(
    number: str, started_by: str, is_short: bool, monkeypatch: pytest.MonkeyPatch
):
    now = [100.0]
    monkeypatch.setattr("haloes.runs.process.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if started_by:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    stop = Stop()
    assert not stop()

    stop.ask(signal.Signals[number])
    assert stop()
    assert not stop.is_time_short()

    now[0] += 6.0
    assert stop.is_time_short() == is_short
