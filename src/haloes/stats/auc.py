"""
The area under the ROC curve: how often a desirable answer scores above an undesirable one.

0.5 is chance, 1 is perfect. Where it says nothing - no rows, or rows of one class only - the result is None, never a
number and never NaN.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haloes.errors import DataError
from haloes.results import LEVEL, PairedDifference, Score
from haloes.stats.auc_interval import (
    Comparisons,
    all_comparisons,
    auc_interval,
    average_ranks,
    difference_interval,
    difference_p_value,
)
from haloes.stats.bootstrap import FEW_CLUSTERS, Codes, Floats, cluster_codes, finite
from haloes.stats.paired import holm

# Shapes: N rows, D bootstrap draws, G groups of rows with equal scores, V different values.


def auc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """
    Compute the Mann-Whitney probability P(score of a desirable > score of an undesirable), ties counting half.

    Args:
        scores: one finite number a row.
        labels: True for desirable rows.

    Returns:
        A number in [0, 1], or None where one class is missing.

    Raises:
        DataError: the lengths differ, a score is not finite, or a label is neither true nor false.
    """
    score_N, label_N = _checked(scores, labels)
    num_desirable = int(label_N.sum())
    num_undesirable = len(label_N) - num_desirable
    if not num_desirable or not num_undesirable:
        return None
    # A rank counts all rows at or below it; without the desirable ones, n (n + 1) / 2 in all, it counts the wins.
    rank_sum = float(average_ranks(score_N)[label_N].sum())
    return (rank_sum - num_desirable * (num_desirable + 1) / 2) / (num_desirable * num_undesirable)


def auc_noise(num_desirable: int, num_undesirable: int) -> float:
    """Return the standard deviation of the AUC of a score that has nothing to do with the label (without ties)."""
    return math.sqrt((num_desirable + num_undesirable + 1) / (12 * num_desirable * num_undesirable))


def auc_with_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    name: str = "auc",
    variant: str = "after",
    label: str = "",
) -> Score | None:
    """
    Compute the AUC with the interval of `stats.auc_interval`, which counts prompts, not rows, as independent.

    A reward that is the same for all rows is at chance exactly, and has an interval of no width.

    Args:
        scores: one finite number a row, such as the implied reward.
        labels: True for desirable rows.
        clusters: the prompt identity of each row (see `bootstrap.cluster_codes`).
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.

    Returns:
        The score; None where one class is missing, or all rows answer one prompt.

    Raises:
        DataError: the lengths differ, a score is not finite, or a label is neither true nor false.
    """
    score_N, label_N, codes_N = checked_rows(scores, labels, clusters)
    if not _has_interval(label_N, codes_N):
        return None
    compared = all_comparisons(score_N, label_N, codes_N)
    return comparisons_score(compared, name=name, variant=variant, label=label)


def auc_difference_with_interval(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    name: str = "auc",
    label: str = "",
) -> Score | None:
    """
    Compute the AUC of the scores after minus that of the scores before, on the same rows.

    What makes a prompt easy or hard for both cancels out. Arguments, result and errors as in `auc_with_interval`; row i
    of `before` and of `after` is about the same answer.
    """
    before_N, label_N, codes_N = checked_rows(before, labels, clusters)
    after_N, _, _ = checked_rows(after, labels, clusters)
    if not _has_interval(label_N, codes_N):
        return None
    sides = [all_comparisons(score_N, label_N, codes_N) for score_N in (before_N, after_N)]
    return difference_score(*sides, name=name, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRows:
    """Rows that two models scored."""

    scores: Sequence[float]
    """The first model's scores, such as its implied rewards."""
    others: Sequence[float]
    """The other model's scores of the same rows."""
    labels: Sequence[bool]
    prompts: Sequence[Hashable]
    tokens: Sequence[int]
    """The answers' lengths."""


def auc_differences(pairs: Mapping[tuple[str, str], ScoredRows]) -> list[PairedDifference]:
    """
    Compute for each pair of models the AUC of the first minus that of the second.

    The p-value goes with the interval: below 0.05 where that leaves out zero. All are corrected by Holm's method.
    A pair whose rows have one class or one prompt only is left out.

    Args:
        pairs: the two models' names and what they gave to the rows that they share.

    Raises:
        DataError: the lengths of a pair differ, or a score is not finite.
    """
    sides = {}
    for names, rows in pairs.items():
        both = [checked_rows(scores, rows.labels, rows.prompts) for scores in (rows.others, rows.scores)]
        if _has_interval(*both[0][1:]):
            sides[names] = (all_comparisons(*both[0]), all_comparisons(*both[1]))
    return with_p_values(sides)


def with_p_values(
    sides: Mapping[tuple[str, str], tuple[Comparisons, Comparisons]],
) -> list[PairedDifference]:
    """Return for (model, other) the difference of (the other's, the model's) comparisons; Holm's p over all of them."""
    p_values = [difference_p_value(*both) for both in sides.values()]
    return [
        PairedDifference(
            model=model,
            other=other,
            score=difference_score(*both, name="auc", label=""),
            p_value=p_value,
            p_holm=p_holm,
        )
        for ((model, other), both), p_value, p_holm in zip(sides.items(), p_values, holm(p_values), strict=True)
    ]


def comparisons_score(compared: Comparisons, *, name: str, variant: str, label: str) -> Score:
    """Make the record of an AUC."""
    low, high = auc_interval(compared, LEVEL)
    return Score(
        name=name,
        value=compared.value,
        low=low,
        high=high,
        variant=variant,
        num_rows=int(np.count_nonzero(compared.count_N)),
        num_clusters=len(np.unique(compared.codes_N[compared.count_N > 0])),
        method=f"Newcombe's score interval over {_prompts(compared)}",
        label=label,
    )


def difference_score(before: Comparisons, after: Comparisons, *, name: str, label: str = "") -> Score:
    """Make the record of the AUC after less that before."""
    low, high = difference_interval(before, after, LEVEL)
    return Score(
        name=name,
        value=after.value - before.value,
        low=low,
        high=high,
        variant="difference",
        num_rows=int(np.count_nonzero(before.count_N)),
        num_clusters=len(np.unique(before.codes_N[before.count_N > 0])),
        method=f"Newcombe's score intervals, combined, over {_prompts(before)}",
        label=label,
    )


def checked_rows(
    scores: ArrayLike, labels: ArrayLike, clusters: Sequence[Hashable]
) -> tuple[Floats, NDArray[np.bool_], Codes]:
    """Return scores, labels and numbers of the prompts as arrays; raise DataError as `auc_with_interval` does."""
    score_N, label_N = _checked(scores, labels)
    if len(clusters) != len(label_N):
        raise DataError(f"auc: {len(clusters)} prompt keys for {len(label_N)} rows; give one key a row")
    return score_N, label_N, cluster_codes(clusters)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    score_N = finite(scores, "auc")
    raw = np.asarray(labels)
    if raw.shape != score_N.shape or score_N.ndim != 1:
        raise DataError(f"auc: labels of shape {raw.shape} for scores of shape {score_N.shape}; give one label a score")
    if not np.isin(raw, [0, 1]).all():
        raise DataError(f"auc: labels must be true or false, got {raw[~np.isin(raw, [0, 1])][0]}")
    return score_N, raw.astype(np.bool_)


def _has_interval(label_N: NDArray[np.bool_], codes_N: Codes) -> bool:
    """Return whether there are rows of both classes, and two prompts: one has no spread."""
    return bool(label_N.any() and not label_N.all() and codes_N.max() > 0)


def _prompts(compared: Comparisons) -> str:
    """Count the prompts with a desirable and those with an undesirable row: what the interval really rests on."""
    sides = [compared.label_N & (compared.count_N > 0), ~compared.label_N & (compared.count_N > 0)]
    good, bad = (len(np.unique(compared.codes_N[side_N])) for side_N in sides)
    text = f"{good} prompts with a desirable and {bad} with an undesirable answer"
    return f"{text}; fewer than {FEW_CLUSTERS} prompts of one class" if min(good, bad) < FEW_CLUSTERS else text
