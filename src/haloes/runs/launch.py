"""
Starting the processes of a run on this machine: torch's elastic agent, with our exit codes and one display.

What torch's launcher does else is to end with 1 whatever happened, to print a traceback of its own, to start anew also
after a mistake of the user, and to kill 30 s after a signal.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch
from torch.distributed.distributed_c10d import Store
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from haloes.errors import ProcessEnded
from haloes.runs.launched import LAUNCHER
from haloes.runs.machines import Machines, Meeting
from haloes.runs.process import ending_signals
from haloes.training.process_group import is_one_lost, of_start, tell_lost

_TO_SAVE = 300.0
"""Seconds that the others have, once a process has failed, to notice it, save what was trained, and end."""
_FOR_OTHER_MACHINES = 2.0
"""Seconds that the first machine's store stays after the end, and that news of a lost process has to come by it."""
_POLL = 0.1


def launch(command: Sequence[str], processes: int, machines: Machines, run_dir: Path, *, max_restarts: int) -> int:
    """
    Carry a command out in several processes, and wait for them.

    Signals that end a process are handed on to them, and nobody is killed after a signal: they stop after the step, or
    at once at a second signal.

    Args:
        command: a program and its arguments; one of ours, which ends when this process does.
        processes: how many there are on this machine.
        machines: where those of other machines are, if there are any.
        run_dir: the run's folder, for messages.
        max_restarts: how often all are started again after one of them was killed; the run goes on from its newest
            checkpoint.

    Returns:
        The exit code that the processes agreed on.

    Raises:
        ProcessEnded: all of them were killed, so that none could say so.
        RunError: the machines do not find each other.
        KeyboardInterrupt: a signal came before they were started.
    """
    meeting = Meeting(machines, processes)
    spec = WorkerSpec(
        role="haloes",
        local_world_size=processes,
        entrypoint=command[0],
        # torch puts values in place of $names here.
        args=tuple(argument.replace("$", "$$") for argument in command[1:]),
        rdzv_handler=meeting,
        max_restarts=max_restarts,
        monitor_interval=_POLL,
    )
    agent = _Agent(spec, meeting)
    with _environment(_of_processes(processes, machines)), _silent_agent(), agent.handing_signals_on():
        try:
            result = agent.run()
        except _EndedError as ended:
            result = ended.result
    if not result.is_failed():
        return 0
    if machines.count > 1:
        time.sleep(_FOR_OTHER_MACHINES)
    return _exit_code(list(result.failures.values()), run_dir)


def _exit_code(failures: Sequence[ProcessFailure], run_dir: Path) -> int:
    """Return the exit code of those that ended by themselves. Raises ProcessEnded where there are none."""
    if sys.stderr.isatty():
        # Who drew the display may have been killed before it showed the cursor again.
        sys.stderr.write("\x1b[?25h")
    own = [failure.exitcode for failure in failures if failure.exitcode > 0]
    if own:
        return own[0]
    raise ProcessEnded(
        f"all processes were killed ({failures[0].signal_name()}), perhaps for want of memory; what was saved before "
        f"is in {run_dir}. Go on with: haloes resume {run_dir}, or the same command where it had not begun"
    )


class _EndedError(Exception):
    """The processes have ended, and are not started again."""

    def __init__(self, result: RunResult) -> None:
        super().__init__()
        self.result = result


class _Agent(LocalElasticAgent):
    """torch's agent, which lets processes end by themselves, and starts them again only where one was lost."""

    def __init__(self, spec: WorkerSpec, meeting: Meeting) -> None:
        super().__init__(spec, DefaultLogsSpecs(log_dir=os.devnull), exit_barrier_timeout=_TO_SAVE)
        self._meeting = meeting
        self._asked = False
        self._since: float | None = None
        """When the first of them was seen to have failed."""

    @contextmanager
    def handing_signals_on(self) -> Iterator[None]:
        """Hand on Ctrl-C, SIGTERM and SIGHUP to the processes inside the block; without any, interrupt."""

        def hand_on(number: int, _: object) -> None:
            self._asked = True
            known = [worker.id for worker in self.get_worker_group().workers if worker.id is not None]
            there = [process for process in known if _end_of(process) is None]
            for process in there:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
            if not there:
                raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

        before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, *ending_signals())}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        """Return how the processes are; torch ends all of them as soon as it sees one that has failed."""
        ends = [_end_of(worker.id) for worker in worker_group.workers]
        for worker, end in zip(worker_group.workers, ends, strict=True):
            if end is not None and end < 0:
                with suppress(RuntimeError):  # the machine that has the store is gone
                    name = signal.Signals(-end).name
                    tell_lost(self._shared(), worker.global_rank, worker.world_size, name, again=self._again())
        self._since = time.monotonic() if self._since is None and any(ends) else self._since
        if self._since is not None and None in ends and time.monotonic() - self._since < _TO_SAVE:
            return RunResult(state=WorkerState.HEALTHY)
        result: RunResult = super()._monitor_workers(worker_group)
        if result.is_failed():
            self._since = None
            if self._asked or not self._is_one_lost(result):
                raise _EndedError(result)
        return result

    def _again(self) -> str | None:
        """Return which start comes next, as "1 of 3"; None where none does."""
        most, starts = self.get_worker_group().spec.max_restarts, self._meeting.num_starts
        return None if self._asked or starts > most else f"{starts} of {most}"

    def _is_one_lost(self, result: RunResult) -> bool:
        """Return whether one of the processes was killed, here or on another machine."""
        if any(failure.exitcode < 0 for failure in result.failures.values()):
            return True
        until = time.monotonic() + (_FOR_OTHER_MACHINES if self._meeting.machines.count > 1 else 0)
        while not (found := is_one_lost(self._shared())) and time.monotonic() < until:
            time.sleep(_POLL)
        return found

    def _shared(self) -> Store:
        """Return the part of the store that the processes of this start look at."""
        return of_start(self._meeting.store, self._meeting.get_run_id(), self._meeting.num_starts - 1)


def _end_of(process: int) -> int | None:
    """Return the exit code of a child of ours, negative for a signal, and leave it for torch to ask; None: it runs."""
    try:
        found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # torch has asked before, and it had ended well
        return 0
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _of_processes(processes: int, machines: Machines) -> Mapping[str, str]:
    """Return what the environment tells the processes, where it does not yet."""
    wanted = {
        # Each of them would take all processors.
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes)),
        # torch hands this one to the processes; the others, which have a meaning for us, are not its to handle.
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGQUIT",
        # What its C++ warns of when this process, which has the store, is killed: they say it themselves.
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    if machines.count == 1 and (loopback := _loopback()) is not None:
        # Nothing of one machine's listens on a network.
        wanted["GLOO_SOCKET_IFNAME"] = loopback
    return {LAUNCHER: str(os.getpid())} | {name: value for name, value in wanted.items() if name not in os.environ}


def _loopback() -> str | None:
    """Return the name of the network interface that leads nowhere else."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == "127.0.0.1" for address in addresses):
            return str(name)
    return None


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment inside the block, for processes that are started in it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _silent_agent() -> Iterator[None]:
    """Let torch's agent log nothing inside the block: the processes say what there is to say."""
    log, nowhere = logging.getLogger("torch.distributed.elastic"), logging.NullHandler()
    log.addHandler(nowhere)
    propagates, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(nowhere)
        log.propagate = propagates
