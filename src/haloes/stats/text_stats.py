"""Plain statistics of answers: length, variety, repetition, and whether the model came to an end."""

import math
import re
from collections.abc import Iterable, Sequence

from haloes.errors import DataError
from haloes.records import Completion

_SPOKEN = re.compile(r"\w+(?:[.,]\d{3})*")
"""A word without its punctuation; 1,000,000 is one, and its noughts are not said twice."""
_LONGEST_STRETCH = 32
_TIMES = 3
_MOST_SAID_BEFORE = 0.5


def words(text: str) -> list[str]:
    """Split a text at white space."""
    return text.split()


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """List all runs of n neighbouring words, in order."""
    if n < 1:
        raise DataError(f"ngrams: n must be at least 1, got {n}")
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def distinct_n(texts: Iterable[str], n: int = 2) -> float | None:
    """
    Compute distinct-n (Li et al., 2016): different n-grams by all n-grams, over all texts together, ignoring case.

    It falls with the amount of text, so compare it only between sets of similar size. None where no text has n words.
    """
    grams = [gram for text in texts for gram in ngrams(words(text.lower()), n)]
    return len(set(grams)) / len(grams) if grams else None


def repetition_rate(text: str, n: int = 4) -> float:
    """
    Compute the share of an answer's n-grams that it has already said, ignoring case: 0 is fresh, near 1 is a loop.

    An answer of fewer than n + 1 words cannot repeat one, so it counts as 0.
    """
    grams = ngrams(words(text.lower()), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def repeats_itself(text: str) -> bool:
    """
    Say whether an answer goes in circles, as one of a model does that has come apart, ignoring case and punctuation.

    It does where a stretch of up to 32 words stands three times running ("1. 1. 1. 2. 3."), or where more than half of
    its four-word runs came before (`repetition_rate`). Code, tables and songs can do so for good reasons: 2 % of 5,000
    answers of large models do (LOG.md), so that a share says something beside that of another model.
    """
    said = _SPOKEN.findall(text.lower())
    longest = min(_LONGEST_STRETCH, len(said) // _TIMES)
    return any(_comes_running(said, length) for length in range(1, longest + 1)) or (
        repetition_rate(text) > _MOST_SAID_BEFORE
    )


def _comes_running(said: Sequence[str], length: int) -> bool:
    """Return whether a stretch of so many words stands three times in a row."""
    equal = 0
    for word, before in zip(said[length:], said, strict=False):
        equal = equal + 1 if word == before else 0
        if equal == (_TIMES - 1) * length:
            return True
    return False


def finished_rate(completions: Sequence[Completion]) -> float | None:
    """Compute the share of answers that the model ended itself, rather than being cut off; None without answers."""
    return math.fsum(c.finished for c in completions) / len(completions) if completions else None
