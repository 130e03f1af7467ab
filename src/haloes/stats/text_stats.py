"""Plain statistics of answers: length, variety, repetition, and whether the model came to an end."""

import math
from collections.abc import Iterable, Sequence

from haloes.errors import DataError
from haloes.records import Completion


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


def finished_rate(completions: Sequence[Completion]) -> float | None:
    """Compute the share of answers that the model ended itself, rather than being cut off; None without answers."""
    return math.fsum(c.finished for c in completions) / len(completions) if completions else None
