"""What a format is: a name, the rows it recognises, and how it reads one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from haloes.feedback.fields import RawRow
from haloes.records import Feedback, Pair, Refusal, Where

Record: TypeAlias = Feedback | Pair | Refusal
"""What comes out of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One shape of rows that other tools write."""

    name: str
    """What it is called on the command line."""
    needs: str
    """The columns of a row, in words, for messages."""
    matches: Callable[[RawRow], bool]
    """Whether a row has this shape. Broken values are not its concern: they are refused when the row is read."""
    parse: Callable[[RawRow, Where], Iterator[Record]]
    """The records of one row. Raises `RefusalError` where the row cannot be used at all."""
    labels: Callable[[RawRow], list[object]]
    """The labels of a row as they stand there, for a look at a whole column; empty for pairs."""


def no_labels(_: RawRow) -> list[object]:
    """Pairs have no labels."""
    return []
