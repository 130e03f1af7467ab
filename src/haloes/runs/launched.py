"""What a process of a run knows of the `haloes train --processes N` that started it beside others, where one did."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from haloes.run_files import PROCESSES

LAUNCHER = "HALOES_LAUNCHER"
"""The environment variable that holds the number of the process that started this one."""
_LOOK = 1.0
"""Seconds between two looks at whether that process is still there."""


def is_launched() -> bool:
    """Return whether `haloes ... --processes N` started this process, and waits for it."""
    return LAUNCHER in os.environ


def end_with_launcher() -> None:
    """Have this process stopped, as SIGTERM does, when the one that started it is gone; nothing where none did."""
    if not is_launched():
        return
    launcher = int(os.environ[LAUNCHER])

    def watch() -> None:
        # Who lost its parent is given to another one. A pipe to it would do as well, and torch closes those.
        while os.getppid() == launcher:
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watching the launcher", daemon=True).start()


def num_restarts() -> int:
    """Return how often all processes of the run were started again after one of them was lost; torchrun counts too."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextmanager
def own_output(run_dir: Path, index: int) -> Iterator[None]:
    """
    Write what this process, of this index, prints into a file of the run's folder, unless it is the first of a machine.

    So the terminal shows one process. What is said after the block, as why this process ends, goes there again.
    """
    if not is_launched() or os.environ.get("LOCAL_RANK", "0") == "0":
        yield
        return
    path = run_dir / PROCESSES / f"{index}.txt"
    path.parent.mkdir(exist_ok=True)
    before = [os.dup(number) for number in (1, 2)]
    with path.open("ab") as file:
        _direct([file.fileno()] * 2)
    try:
        yield
    finally:
        _direct(before)
        for number in before:
            os.close(number)


def _direct(to: list[int]) -> None:
    """Let standard output and standard error go to these open files."""
    # Not sys.stdout alone: what C++ and processes of its own print is to go there as well.
    sys.stdout.flush()
    sys.stderr.flush()
    for number, file in enumerate(to, start=1):
        os.dup2(file, number)
