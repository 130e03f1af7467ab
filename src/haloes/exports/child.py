"""Programs that do a part of an export in a process of their own: started, waited for, and ended with it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from haloes.errors import RunError
from haloes.progress.contract import Progress

MIB = 1 << 20
_LOOK = 0.2
"""Seconds between two looks at how far a program is."""
_SHOWN = 300


def python(*arguments: str) -> list[str]:
    """Return the command for this Python with these arguments, which finds no module in the working folder."""
    return [sys.executable, "-P", *arguments]


def offline() -> dict[str, str]:
    """Return an environment in which no model library asks the network for anything."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def run_program(
    command: Sequence[str], *, log: Path, what: str, made: Path | None = None, progress: Progress | None = None
) -> None:
    """
    Run a program to its end; it ends with this one.

    Args:
        command: the program and its arguments.
        log: the file for what it prints.
        what: its work, for the message of a failure ("llama.cpp cannot convert the model").
        made: the file that it writes, whose size in MiB is the unit of progress.
        progress: told how much of the file is there.

    Raises:
        RunError: it failed; the message has the last line that it printed.
    """
    done = 0
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this Python or a program on the user's PATH, with our arguments
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=offline()
        )
        try:
            while process.poll() is None:
                time.sleep(_LOOK)
                size = made.stat().st_size if made is not None and made.exists() else 0
                if progress is not None:
                    progress.advance(max(0, size - done) / MIB)
                done = max(done, size)
        finally:
            end(process)
    if process.returncode != 0:
        raise RunError(f"{what}: {last_line(log) or f'it ended with code {process.returncode}'}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that still runs."""
    if process.poll() is None:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    """Return the last line of what a program printed that says something."""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip()[-_SHOWN:] for line in reversed(lines) if line.strip()), "")
