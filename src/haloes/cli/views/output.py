"""Printing to the terminal: the only place that does, and nothing from outside controls the terminal."""

import errno
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from haloes.errors import USAGE
from haloes.readable import readable

UNREAD = 141
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
"""Faults of a write that the user can act on; EIO is a terminal that was closed."""
_UNBOUNDED = 100_000
"""Characters of a line of which there are never so many."""


def fail(message: str, *, code: int = USAGE) -> int:
    """Say on stderr what went wrong, and return the exit code."""
    with suppress(OSError):  # nobody may listen any more
        print(readable(f"haloes: {message}"), file=sys.stderr)  # noqa: T201
    return code


def show_what_the_encoding_lacks() -> None:
    """Have characters that a terminal's encoding lacks written as escapes, where they would be a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def unwritten(error: OSError | SystemExit) -> int:
    """
    Return the exit code for output that nobody reads any more, or that a full disk does not take.

    Raises the error where it is another one.
    """
    if isinstance(error, SystemExit):  # of rich, which writes the help
        return UNREAD
    if not isinstance(error, BrokenPipeError) and error.errno not in _FULL:
        raise error
    # Python flushes stdout when it ends, and would complain of it with a traceback.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return UNREAD
    return fail(f"the output cannot be written ({error.strerror}); free some space, or send it elsewhere")


def say(text: str = "") -> None:
    """Print a line as it is: nothing in it is taken for markup."""
    print(readable(text))  # noqa: T201


def say_lines(lines: Iterable[str]) -> None:
    """Print several lines as they are."""
    for line in lines:
        say(line)


def show(renderables: Iterable[Any]) -> None:
    """Print what rich can draw: as wide as the terminal, and as wide as it needs to be where there is none."""
    from rich.measure import Measurement

    from haloes.progress.console import SafeConsole

    console = SafeConsole(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        for item in renderables:
            console.print(item)
        return
    # What goes into a pipe or a file is searched and copied: nothing in it may be broken or cut.
    console = SafeConsole(highlight=False, width=_UNBOUNDED)
    for item in renderables:
        needed = Measurement.get(console, console.options, item).maximum
        with console.capture() as captured:
            console.print(item, width=max(needed, 1))  # an empty line is a line
        say_lines(line.rstrip() for line in captured.get().splitlines())


def width() -> int:
    """Return how many characters fit into a line."""
    from rich.console import Console

    return Console().width
