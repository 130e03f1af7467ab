"""Rows that are read twice: once for an index, once for the rows themselves."""

from collections.abc import Iterable

from haloes.feedback.keys import Row
from haloes.records import Refusal


def twice(rows: Iterable[Row | Refusal]) -> Iterable[Row | Refusal]:
    """
    Rows that can be read two times with the same result.

    A file source or a list starts anew at every reading and comes back as it is, so that nothing but an index need be
    held in memory; a generator can be read once only, and its rows are kept.
    """
    return list(rows) if iter(rows) is rows else rows
