"""What of a round's feedback can be learnt from, and whether it is enough for a loss."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from haloes.errors import DataError
from haloes.feedback.keys import group_of
from haloes.records import Feedback, Pair

_WHAT_TO_DO = "give another judge, raise --per-prompt or --temperature, or begin with a model that is sometimes right"


def learnable(rows: Iterable[Feedback | Pair]) -> list[Feedback | Pair]:
    """The rows without empty answers, and without pairs of the same text."""
    return [row for row in rows if all(_words(row)) and len(set(_words(row))) == len(_words(row))]


def counts_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows of a feedback file are desirable, undesirable, and pairs."""
    labels = [row.get("label") for row in rows]
    return {
        "desirable": labels.count(True),
        "undesirable": labels.count(False),
        "pairs": sum("chosen" in row for row in rows),
    }


def require_enough(rows: Sequence[Feedback | Pair], number: int, *, pairs: bool, undesirable: bool) -> None:
    """
    Make sure that a round's loss has something to learn from.

    Args:
        rows: the round's feedback.
        number: the round.
        pairs: whether the loss wants pairs.
        undesirable: whether it learns from undesirable answers.

    Raises:
        DataError: it has not.
    """
    if not rows:
        raise DataError(f"round {number}: no verdict says anything; {_WHAT_TO_DO}")
    labels: defaultdict[str, set[bool]] = defaultdict(set)
    for row in rows:
        labels[group_of(row)] |= {True, False} if isinstance(row, Pair) else {bool(row.label)}
    if pairs and not any(len(found) > 1 for found in labels.values()):
        raise DataError(f"round {number}: no prompt has a liked and a disliked answer, so no pairs; {_WHAT_TO_DO}")
    if not undesirable and not any(True in found for found in labels.values()):
        raise DataError(f"round {number}: no answer is liked, and the loss learns from liked ones; {_WHAT_TO_DO}")


def _words(row: Feedback | Pair) -> list[str]:
    texts = [row.chosen, row.rejected] if isinstance(row, Pair) else [row.completion]
    return [str(text).strip() for text in texts]
