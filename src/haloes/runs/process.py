"""
The process that a run works in: its signals and its threads.

While training the first Ctrl-C, SIGTERM or SIGHUP (a terminal that was closed) ends the run after the current step, or,
where a kill follows before that has ended, with the step before it; elsewhere they act at once.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from haloes.runs.launched import is_launched

_FOR_THE_STEP = 5.0
"""Seconds that a step may go on after a signal that a kill follows. Docker kills 10 s after SIGTERM, torchrun and
Kubernetes 30 s: what is left is for a checkpoint."""


class Stop:
    """Whether a signal asked the run to stop; called, it says so."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._asked = threading.Event()
        self._until: float | None = None

    def __call__(self) -> bool:
        """Return whether it was asked for."""
        return self._asked.is_set()

    def ask(self, number: int) -> None:
        """Ask by this signal."""
        # torchrun hands Ctrl-C on to its processes, and kills those that are still there after half a minute; our own
        # launcher waits.
        if number == signal.SIGTERM or ("TORCHELASTIC_RUN_ID" in os.environ and not is_launched()):
            self._until = time.monotonic() + _FOR_THE_STEP
        self._asked.set()

    def is_time_short(self) -> bool:
        """Return whether a kill may come before the step has ended, so that it is given up for a checkpoint."""
        return self._until is not None and time.monotonic() > self._until


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Note SIGINT, SIGTERM and SIGHUP inside the block: the result tells of the first; a second one interrupts."""
    stop = Stop()
    # Python lets only the main thread handle signals; elsewhere nobody asks, and Ctrl-C acts as ever.
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop():
            signal.default_int_handler(number, frame)
        stop.ask(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, *ending_signals())}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupt_on_terminate() -> Iterator[None]:
    """
    Raise KeyboardInterrupt on SIGTERM and SIGHUP inside the block, as Ctrl-C does: nothing temporary is left behind.

    One that somebody handles or ignores already stays as it is, and outside the main thread nothing is changed.
    """
    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in ending_signals() if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, signal.SIG_DFL)


def end_undisturbed() -> None:
    """Ignore SIGTERM and SIGHUP from now on where they would raise KeyboardInterrupt: this process ends already."""
    # torchrun sends SIGTERM to those that are left when one of them has ended, in the middle of what they have to say.
    for number in ending_signals():
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a process; SIGHUP only where it is not ignored, as `nohup` has it."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGHUP]


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Compute with this number of threads on the CPU inside the block, after it as before; None changes nothing."""
    import torch  # here, as every command imports this file, and most of them compute nothing

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
