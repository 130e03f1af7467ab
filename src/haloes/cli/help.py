"""Help texts of commands: whole docstrings in paragraphs as wide as the terminal, and defaults that tell something."""

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App


def shown_default(value: object) -> str | None:
    """Return a default as the help shows it; None for a flag that is not set or an option that is not given."""
    return None if value is None or value is False or value == () else str(value)


def explain_whole(command: "App") -> None:
    """
    Let a command and its subcommands explain themselves with their whole docstrings.

    The list of commands has only the first lines. Called for the one command that is run, as it imports its module.
    """
    function = command.default_command
    if function is not None:
        # Cyclopts would break a paragraph where the source does and at the terminal's margin too, hence the joining.
        function.__doc__ = joined(inspect.getdoc(function) or "")
        # The line from the list of commands would be shown in place of the docstring.
        command.help = None
    for name in command:
        if not name.startswith("-"):
            explain_whole(command[name])


def joined(docstring: str) -> str:
    """Return a docstring in numpy's style with each paragraph on one line."""
    paragraphs: list[str] = []
    for line in docstring.splitlines():
        before = paragraphs[-1] if paragraphs else ""
        # A change of indent begins an entry of a section; a dashed line belongs to the heading above it.
        apart = not line.strip() or not before.strip() or _indent(line) != _indent(before)
        if apart or line.startswith("---") or before.startswith("---"):
            paragraphs.append(line)
        else:
            paragraphs[-1] = f"{before} {line.strip()}"
    return "\n".join(paragraphs)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
