"""
The process that a run works in: its signals and its threads.

While training the first Ctrl-C, SIGTERM or SIGHUP (a terminal that was closed) ends the run after the current step;
elsewhere they act at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Note SIGINT, SIGTERM and SIGHUP inside the block: the function tells of the first; a second one interrupts."""
    asked = threading.Event()
    # Python lets only the main thread handle signals; elsewhere nobody asks, and Ctrl-C acts as ever.
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, *_ends())}
    try:
        yield asked.is_set
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
    ours = [number for number in _ends() if is_main and signal.getsignal(number) is signal.SIG_DFL]

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _ends() -> list[signal.Signals]:
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
