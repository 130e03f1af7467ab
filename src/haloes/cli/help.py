"""What a command's help shows: its whole docstring, in paragraphs as wide as the terminal, and telling defaults."""

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App


def shown_default(value: object) -> str | None:
    """A default as the help shows it: nothing for a flag that is not set and an option that is not given."""
    return None if value is None or value is False or value == () else str(value)


def explain_whole(command: "App") -> None:
    """
    Let a command explain itself with its whole docstring, of which the list of commands has the first line.

    The lines of a paragraph are joined, as cyclopts would break the text where the source does and at its margin too.
    """
    function = command.default_command
    if function is not None:
        function.__doc__ = joined(inspect.getdoc(function) or "")
        command.help = None
    for name in command:
        if not name.startswith("-"):
            explain_whole(command[name])


def joined(docstring: str) -> str:
    """A docstring in numpy's style with each paragraph on one line."""
    found: list[str] = []
    for line in docstring.splitlines():
        before = found[-1] if found else ""
        apart = not line.strip() or not before.strip() or _indent(line) != _indent(before)
        if apart or line.startswith("---") or before.startswith("---"):
            found.append(line)
        else:
            found[-1] = f"{before} {line.strip()}"
    return "\n".join(found)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
