"""The contract of a format: a name, the rows it recognises, and how it reads one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from haloes.feedback.fields import RawRow
from haloes.records import Record, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One shape of rows that other tools write."""

    name: str
    """Name on the command line."""
    needs: str
    """Columns of a row, in words, for messages."""
    matches: Callable[[RawRow], bool]
    """Returns whether a row has this shape. Broken values do not matter here: they are refused when the row is read."""
    parse: Callable[[RawRow, Where], Iterator[Record]]
    """Yields the records of one row. Raises `RefusalError` where the row cannot be used at all."""
    labels: Callable[[RawRow], list[object]]
    """Returns the unparsed labels of a row, for a look at a whole column; empty for pairs."""


def no_labels(_: RawRow) -> list[object]:
    """Return nothing: pairs have no labels."""
    return []
