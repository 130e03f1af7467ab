"""The contract of a format: a name, the rows it recognises, and how it reads one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from haloes.feedback.fields import RawRow
from haloes.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One shape of rows that other tools write."""

    name: str
    """Name on the command line."""
    needs: str
    """Columns of a row, in words, for messages."""
    matches: Callable[[RawRow], bool]
    """Returns whether a row has this shape. Broken values do not matter here: they are refused when the row is read."""
    parse: Callable[..., Iterator[Record]]
    """Yields the records of one row, called with the row and its place; of comparisons also with `scale`, a
    `PreferenceScale`. Raises `RefusalError` where the row cannot be used at all."""
    reads: Callable[[RawRow], frozenset[str]]
    """Returns which of the names in `columns.CHECKED` are used of such a row; another that is mapped is a mistake."""
    labels: Callable[[RawRow], list[object]]
    """Returns the unparsed labels of a row, for a look at a whole column; empty for pairs."""
    preference: str | None = None
    """Column of a comparison that says which of two answers is better; None for other formats."""


def always(*names: str) -> Callable[[RawRow], frozenset[str]]:
    """Return the `reads` of a format whose rows all use the same names."""
    used = frozenset(names)
    return lambda _: used


def no_labels(_: RawRow) -> list[object]:
    """Return nothing: pairs have no labels."""
    return []
