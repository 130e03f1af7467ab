"""What goes to the terminal, and how."""

import os
import sys
from collections.abc import Iterable
from typing import Any

USAGE = 2


def fail(message: str, *, code: int = USAGE) -> int:
    """Say on stderr what went wrong, and give back the exit code."""
    print(f"haloes: {message}", file=sys.stderr)  # noqa: T201
    return code


def discard() -> None:
    """Nobody reads the output any more: what is left of it goes nowhere, quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str = "") -> None:
    """A line as it is: nothing in it is taken for markup."""
    print(text)  # noqa: T201


def say_lines(lines: Iterable[str]) -> None:
    """Several lines as they are."""
    for line in lines:
        say(line)


def show(renderables: Iterable[Any]) -> None:
    """Things that rich can draw."""
    from rich.console import Console

    console = Console(highlight=False)
    for item in renderables:
        console.print(item)


def width() -> int:
    """How many characters fit into a line."""
    from rich.console import Console

    return Console().width
