"""Column mapping: the names of a file's columns to the names that the formats know."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from haloes.errors import DataError
from haloes.feedback.fields import RawRow
from haloes.feedback.refusals import short_repr

_PARTS = re.compile(r'(?:="[^"]*"|[^,])+')
"""What stands between the commas of a mapping."""
_MOST_NAMES, _LONGEST_NAME = 60, 60
"""Columns that a message lists, and characters of each."""

# Content is moved when it is mapped, the rest is copied; see `rename`.
_CONTENT = (
    *("prompt", "completion", "label", "score", "chosen", "rejected", "a", "b", "preference"),
    *("messages", "rejected_response", "system"),
)
_CARRIED = (
    *("tools", "chat_template_kwargs", "weight", "margin", "id", "group", "conversation", "user", "source"),
    *("model", "chosen_model", "rejected_model", "rated_at", "comment", "hindsight"),
)
MAPPABLE = _CONTENT + _CARRIED
"""Names that a file's columns can be mapped to."""
CHECKED = frozenset({*_CONTENT, "margin"})
"""Names that some formats use and others do not; every format uses the rest."""


def parse_columns(text: str) -> dict[str, str | None]:
    """
    Parse a mapping as the command line gives it: "prompt=question,label=thumb"; "source=" leaves a column out.

    A column whose name has a comma stands in double quotes: 'preference="rating (1 = A, 5 = B)"'.

    Raises:
        DataError: A part has no "=", or names a column twice.
    """
    columns: dict[str, str | None] = {}
    for part in filter(None, (part.strip() for part in _PARTS.findall(text))):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise DataError(f"columns: {part!r} is not NAME=COLUMN; for example: --columns prompt=question,label=thumb")
        if name in columns:
            raise DataError(f"columns: {name!r} is mapped twice in {text!r}")
        quoted = len(column) > 1 and column[0] == column[-1] == '"'
        columns[name] = (column[1:-1] if quoted else column) or None
    return columns


def check_columns(columns: Mapping[str, str | None], *, seen: Iterable[str], path: str) -> None:
    """
    Raise DataError for a mapping to a name that is not ours, or from a column that the file does not have.

    Args:
        columns: Our name -> the file's column, or None to leave out the column of that name.
        seen: The columns of the file's first rows.
        path: Name of the file in messages.

    Raises:
        DataError: The name does not exist; the message gives the nearest that does.
    """
    names = sorted(seen)
    for name, column in columns.items():
        if column is None and name not in names:
            raise DataError(f"{path}: columns: there is no column {name!r} to leave out{nearest_hint(name, names)}")
        if _is_turned_round(name, column, names):
            raise DataError(
                f"{path}: columns: {name}={column} is the wrong way round: our name comes first; give "
                f"--columns {_turned(columns, names)}"
            )
        if column is not None and name not in MAPPABLE:
            raise DataError(f"{path}: columns: {name!r} is not a name to map to{nearest_hint(name, MAPPABLE)}")
        if column is not None and column not in names:
            cut = [each for each in names if each.startswith(f"{column},")]
            hint = f"; where its name has a comma, give {columns_option({name: cut[0]})}" if cut else ""
            raise DataError(
                f"{path}: columns: the file has no column {column!r} for {name}{hint or nearest_hint(column, names)}"
            )


def _is_turned_round(name: str, column: str | None, seen: list[str]) -> bool:
    return name not in MAPPABLE and name in seen and column in MAPPABLE


def _turned(columns: Mapping[str, str | None], seen: list[str]) -> str:
    """Return the mapping as the command line takes it, with the parts turned that are the wrong way round."""
    parts = (
        (column, name) if _is_turned_round(name, column, seen) else (name, column) for name, column in columns.items()
    )
    return ",".join(f"{name}={_quoted(column or '')}" for name, column in parts)


def rename(row: RawRow, columns: Mapping[str, str | None]) -> RawRow:
    """
    Return the row under our names.

    A column that is mapped to a content (prompt, completion, label ...) is moved: a completion that is mapped from
    "chosen" is no longer half of a pair. Ids and the like are copied: the prompt can name the group as well.
    """
    if not columns:
        return row
    moved = {column for name, column in columns.items() if column is not None and name in _CONTENT}
    out = {name: value for name, value in row.items() if name not in moved and name not in columns}
    out.update({name: row[column] for name, column in columns.items() if column is not None and column in row})
    return out


def check_used(columns: Mapping[str, str | None], *, used: Iterable[str], format_name: str, path: str) -> None:
    """
    Raise DataError for a mapped column that the format of the rows does not use, before it is silently ignored.

    Args:
        columns: Our name -> the file's column.
        used: The names of `CHECKED` that the format reads.
        format_name: Name of the format.
        path: Name of the file in messages.
    """
    names = set(used)
    mapped = {name: column for name, column in columns.items() if column is not None and name in CHECKED}
    unused = {name: column for name, column in mapped.items() if name not in names}
    if not unused:
        return
    name, column = next(iter(unused.items()))
    rest = {each: other for each, other in columns.items() if each not in unused}
    advice = f"leave it out: {columns_option(rest)}" if rest else "leave it out"
    if name in ("label", "score", "preference") and {"chosen", "rejected"} <= names:
        a, b = (columns.get(each) or each for each in ("chosen", "rejected"))
        compared = {"prompt": columns.get("prompt") or "prompt", "a": a, "b": b, "preference": column}
        advice = (
            f"if {column} says which of two answers is better, map them as a comparison: {columns_option(compared)}; "
            f"if {a} is always the better one, {advice}"
        )
    raise DataError(
        f"{path}: columns: {name}={column} is mapped, but rows of the format {format_name!r} have no {name} "
        f"(they have {', '.join(sorted(names))}), so it would be ignored; {advice}"
    )


def columns_option(columns: Mapping[str, str | None]) -> str:
    """Return the option for a mapping as it is typed in a shell; a name that stays as it is needs no mention."""
    parts = (f"{name}={_quoted(column or '')}" for name, column in columns.items() if name != column)
    return f"--columns {shlex.quote(','.join(parts))}"


def _quoted(column: str) -> str:
    return f'"{column}"' if "," in column else column


def listed(names: Sequence[str]) -> str:
    """Return names for a message: all of them, or the first where there are very many."""
    shown = ", ".join(short_repr(name)[1:-1] if len(name) > _LONGEST_NAME else name for name in names[:_MOST_NAMES])
    return shown + (f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else "")


def nearest_hint(name: str, existing: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest that exists, and all of them."""
    names = list(existing)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else "") + f" (there are: {listed(names)})"
