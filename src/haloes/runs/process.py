"""
The process that a run works in: its signals and its threads.

While training the first Ctrl-C or SIGTERM ends the run after the current step; elsewhere they act at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Note SIGINT and SIGTERM inside the block: the function tells of the first; a second one interrupts as usual."""
    asked = threading.Event()
    # Python lets only the main thread handle signals; elsewhere nobody asks, and Ctrl-C acts as ever.
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupt_on_terminate() -> Iterator[None]:
    """
    Raise KeyboardInterrupt on SIGTERM inside the block, as Ctrl-C does, so that nothing temporary is left behind.

    Where somebody handles or ignores SIGTERM already, and outside the main thread, nothing is changed.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("stopped by SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
