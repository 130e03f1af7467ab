"""Processes that are started together: their exit codes, signals, restarts, and that none outlives its launcher."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import haloes
from haloes.errors import ConfigError, ProcessEnded, RunError
from haloes.runs.launch import launch
from haloes.runs.machines import Machines, Meeting
from haloes.training.process_group import tell_lost

PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path

place, rank = Path(sys.argv[1]), int(os.environ["RANK"])
attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]

def note(text):
    with (place / f"said {rank}").open("a") as file:
        file.write(text + "\\n")

def wait_for(name):
    while not (place / name).exists():
        time.sleep(0.01)

note(attempt)
(place / f"began {rank}.{attempt}").touch()
"""
"""What each process does first; the tests put the rest behind it."""


def program(rest: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", PROGRAM + rest]


def launched(rest: str, place: Path, *more: str, processes: int = 2, max_restarts: int = 0) -> int:
    command = [*program(rest), str(place), *more]
    return launch(command, processes, Machines(), place / "run", max_restarts=max_restarts)


def said(place: Path, rank: int) -> list[str]:
    return (place / f"said {rank}").read_text().splitlines()


# --- how they end


def test_who_ends_well_ends_all_well_and_arguments_come_as_they_are(tmp_path: Path):
    odd = ["$HOME", "a b", "$$", "${local_rank}", '"', "é"]

    assert launched("note(json.dumps(sys.argv[2:]))", tmp_path, *odd) == 0
    assert [json.loads(said(tmp_path, rank)[1]) for rank in (0, 1)] == [odd, odd]


@pytest.mark.parametrize("code", [2, 130, 1])
def test_the_exit_code_is_that_of_the_processes_and_nobody_starts_again(code: int, tmp_path: Path, capfd: Any):
    assert launched(f"sys.exit({code})", tmp_path, max_restarts=3) == code
    assert said(tmp_path, 0) == said(tmp_path, 1) == ["0"]
    assert capfd.readouterr() == ("", "")


def test_who_is_left_has_time_to_save_and_gets_no_signal(tmp_path: Path):
    rest = """
signal.signal(signal.SIGTERM, lambda *_: note("SIGTERM"))
if rank == 1:
    wait_for("began 0.0")
    sys.exit(2)
time.sleep(0.5)
note("saved")
sys.exit(2)
"""
    assert launched(rest, tmp_path) == 2
    assert said(tmp_path, 0) == ["0", "saved"]


def test_where_all_were_killed_it_is_said_how_to_go_on(tmp_path: Path):
    with pytest.raises(ProcessEnded, match=r"all processes were killed \(SIGKILL\).*haloes resume "):
        launched("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)


# --- starting again


def test_a_process_that_is_killed_has_all_of_them_start_again_so_often_as_is_allowed(tmp_path: Path):
    rest = """
if rank == 1 and attempt != "2":
    wait_for(f"began 0.{attempt}")
    os.kill(os.getpid(), signal.SIGKILL)
if attempt != "2":
    time.sleep(0.05)
    sys.exit(2)
"""
    assert launched(rest, tmp_path, max_restarts=2) == 0
    assert said(tmp_path, 0) == said(tmp_path, 1) == ["0", "1", "2"]


def test_after_the_last_start_the_exit_code_is_that_of_who_was_left(tmp_path: Path):
    rest = "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else sys.exit(2)"

    assert launched(rest, tmp_path, max_restarts=1) == 2
    assert said(tmp_path, 0) == ["0", "1"]


def test_those_that_are_left_are_told_which_start_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told: list[str | None] = []

    def tell(*what: Any, again: str | None) -> None:
        told.append(again)
        tell_lost(*what, again=again)

    monkeypatch.setattr("haloes.runs.launch.tell_lost", tell)
    rest = "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else sys.exit(2)"

    assert launched(rest, tmp_path, max_restarts=2) == 2
    assert list(dict.fromkeys(told)) == ["1 of 2", "2 of 2", None]


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_handed_on_once_and_what_they_end_with_is_what_the_launcher_ends_with(
    number: signal.Signals, tmp_path: Path
):
    rest = f"""
got = []
signal.signal({int(number)}, lambda number, _: got.append(signal.Signals(number).name))
(place / f"ready {{rank}}").touch()
if rank == 0:
    wait_for("ready 1")
    os.kill(os.getppid(), {int(number)})
while not got:
    time.sleep(0.01)
time.sleep(0.2 * (1 - rank))
note(" ".join(got))
sys.exit(130)
"""
    before = signal.getsignal(number)

    assert launched(rest, tmp_path, max_restarts=1) == 130
    assert said(tmp_path, 0) == said(tmp_path, 1) == ["0", number.name]
    assert signal.getsignal(number) is before


def test_who_is_killed_after_a_signal_is_not_started_again(tmp_path: Path):
    rest = """
signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
(place / f"ready {rank}").touch()
if rank == 0:
    wait_for("ready 1")
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    with pytest.raises(ProcessEnded, match="SIGKILL"):
        launched(rest, tmp_path, max_restarts=3)
    assert said(tmp_path, 0) == ["0"]


# --- the launcher


def test_what_torch_warns_of_when_the_launcher_is_gone_is_not_shown(tmp_path: Path):
    assert launched("note(os.environ['TORCH_CPP_LOG_LEVEL'])", tmp_path) == 0
    assert said(tmp_path, 0)[1] == "ERROR"


def test_who_lost_its_launcher_stops_by_itself(tmp_path: Path):
    source = Path(haloes.__file__).parents[1]
    rest = f"""
sys.path.insert(0, {str(source)!r})
from haloes.runs.launched import end_with_launcher

def stopped(*_):
    note("stopped")
    sys.exit(130)

signal.signal(signal.SIGTERM, stopped)
end_with_launcher()
(place / f"ready {{rank}}").touch()
while True:
    time.sleep(0.01)
"""
    code = (
        "import sys\nfrom pathlib import Path\nfrom haloes.runs.launch import launch\n"
        "from haloes.runs.machines import Machines\nplace = Path(sys.argv[1])\n"
        f"launch([*{program(rest)!r}, str(place)], 2, Machines(), place, max_restarts=0)"
    )
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment) as started:
        _wait_until(lambda: all((tmp_path / f"ready {rank}").exists() for rank in (0, 1)))
        started.kill()
    _wait_until(lambda: all(said(tmp_path, rank)[1:] for rank in (0, 1)))

    assert said(tmp_path, 0) == said(tmp_path, 1) == ["0", "stopped"]


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)


# --- several machines


def test_a_store_of_one_machine_listens_on_that_machine_alone():
    meeting = Meeting(Machines(), 1)
    listening = [c.laddr for c in psutil.Process().net_connections("tcp") if c.status == "LISTEN"]

    assert {at.ip for at in listening if at.port == meeting.store.port} == {"127.0.0.1"}


def test_a_port_that_is_taken_is_told():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"port {port} of this machine cannot be taken"):
            Meeting(Machines(count=2, host="127.0.0.1", port=port), 1)


@pytest.mark.parametrize(
    ("other", "processes", "message"),
    [
        ({"count": 2, "index": 1}, 2, "--nodes 2 --processes 2"),
        ({"count": 3, "index": 1}, 1, "--nodes 3 --processes 1"),
        ({"count": 2, "index": 0}, 1, "two machines say --node-rank 0"),
    ],
)
def test_machines_that_do_not_agree_say_so_on_all_of_them(other: Mapping[str, int], processes: int, message: str):
    first = Meeting(Machines(count=2, host="127.0.0.1", port=_free_port()), 1)
    second = Meeting.__new__(Meeting)
    second.machines = Machines(host="127.0.0.1", port=first.store.port, **other)
    second.store, second.num_starts, second._processes = first.store, 0, processes
    with ThreadPoolExecutor() as pool:
        for met in [pool.submit(meeting.next_rendezvous) for meeting in (first, second)]:
            with pytest.raises(ConfigError, match=message):
                met.result()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
