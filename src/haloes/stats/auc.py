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
from haloes.results import PairedDifference, Score
from haloes.stats.bootstrap import (
    DRAWS,
    FEW_CLUSTERS,
    Codes,
    Floats,
    cluster_codes,
    cluster_weights,
    finite,
    normal_quantile,
    p_value_of_draws,
    percentile_interval,
)
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


def average_ranks(value_N: Floats) -> Floats:
    """Return the rank of each value from 1; equal values share the mean of the ranks that they take up."""
    _, place_N, count_V = np.unique(value_N, return_inverse=True, return_counts=True)
    rank_V = np.cumsum(count_V) - (count_V - 1) / 2
    return np.asarray(rank_V[place_N], dtype=np.float64)


def auc_with_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    name: str = "auc",
    variant: str = "after",
    label: str = "",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute the AUC with a percentile interval from resampling whole prompts.

    Draws that hold one class only have no AUC: they are left out, and `method` counts them. Perfect separation makes
    every draw equal, and an interval of no width would be false certainty: there Newcombe's score interval stands in.

    Args:
        scores: one finite number a row, such as the implied reward.
        labels: True for desirable rows.
        clusters: the prompt identity of each row (see `bootstrap.cluster_codes`).
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        level: coverage of the interval.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The score; None where one class is missing, or all rows answer one prompt.

    Raises:
        DataError: the lengths differ, a score is not finite, or a label is neither true nor false.
    """
    score_N, label_N = _checked(scores, labels)
    codes_N = _codes(label_N, clusters)
    value = auc(score_N, label_N)
    num_clusters = int(codes_N.max(initial=-1)) + 1
    if value is None or num_clusters < 2:  # noqa: PLR2004 - one cluster has no spread
        return None
    drawn_D = auc_draws(score_N, label_N, codes_N, draws=draws, seed=seed)
    kept_D = drawn_D[np.isfinite(drawn_D)]
    low, high = percentile_interval(kept_D, level) if len(kept_D) else (value, value)
    method = _method(label_N, codes_N, draws=draws, left_out=draws - len(kept_D))
    # Equal draws of unequal scores are perfect separation, and an interval without width would be false certainty.
    if low == high and np.ptp(score_N) > 0:
        desirable, undesirable = _clusters_by_class(label_N, codes_N)
        low, high = _score_interval(value, desirable, undesirable, level)
        method = f"Newcombe's score interval over {desirable} and {undesirable} prompts (all bootstrap draws are equal)"
    return Score(
        name=name,
        value=value,
        low=low,
        high=high,
        level=level,
        variant=variant,
        num_rows=len(score_N),
        num_clusters=num_clusters,
        method=method,
        label=label,
    )


def auc_difference_with_interval(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    name: str = "auc",
    label: str = "",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute the AUC of the scores after minus that of the scores before, on the same rows.

    Prompts are resampled for both sides together, so that what makes a prompt easy or hard cancels out. Arguments,
    result and errors as in `auc_with_interval`; row i of `before` and of `after` is about the same answer.
    """
    before_N, label_N = _checked(before, labels)
    after_N, _ = _checked(after, labels)
    codes_N = _codes(label_N, clusters)
    value_before, value_after = auc(before_N, label_N), auc(after_N, label_N)
    num_clusters = int(codes_N.max(initial=-1)) + 1
    if value_before is None or value_after is None or num_clusters < 2:  # noqa: PLR2004 - one cluster has no spread
        return None
    # The same seed draws the same prompts for both, so the two series are paired draw by draw.
    drawn_before_D = auc_draws(before_N, label_N, codes_N, draws=draws, seed=seed)
    drawn_D = auc_draws(after_N, label_N, codes_N, draws=draws, seed=seed) - drawn_before_D
    kept_D = drawn_D[np.isfinite(drawn_D)]
    if not len(kept_D):
        return None
    low, high = percentile_interval(kept_D, level)
    return Score(
        name=name,
        value=value_after - value_before,
        low=low,
        high=high,
        level=level,
        variant="difference",
        num_rows=len(label_N),
        num_clusters=num_clusters,
        method="paired " + _method(label_N, codes_N, draws=draws, left_out=draws - len(kept_D)),
        label=label,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRows:
    """Rows that two models scored."""

    scores: Sequence[float]
    """The first model's scores, such as its implied rewards."""
    others: Sequence[float]
    """The other model's scores of the same rows."""
    labels: Sequence[bool]
    prompts: Sequence[Hashable]


def auc_differences(
    pairs: Mapping[tuple[str, str], ScoredRows], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> list[PairedDifference]:
    """
    Compute for each pair of models the AUC of the first minus that of the second, resampling prompts for both together.

    The p-value is twice the smaller share of draws on one side of zero, and all are corrected by Holm's method. A pair
    whose rows have one class or one prompt only is left out.

    Args:
        pairs: the two models' names and what they gave to the rows that they share.
        level: coverage of each interval, not corrected for their number.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Raises:
        DataError: the lengths of a pair differ, or a score is not finite.
    """
    tested = []
    for names, rows in pairs.items():
        score = auc_difference_with_interval(
            rows.others, rows.scores, rows.labels, rows.prompts, level=level, draws=draws, seed=seed
        )
        if score is not None:
            tested.append((names, score, _p_value(rows, draws=draws, seed=seed)))
    corrected = holm([p_value for *_, p_value in tested])
    return [
        PairedDifference(model=model, other=other, score=score, p_value=p_value, p_holm=p_holm)
        for ((model, other), score, p_value), p_holm in zip(tested, corrected, strict=True)
    ]


def auc_draws(score_N: Floats, label_N: NDArray[np.bool_], codes_N: Codes, *, draws: int, seed: int) -> Floats:
    """
    Compute the AUC of each bootstrap draw; NaN where a draw holds one class only.

    A draw gives each row the weight of its cluster, so nothing is sorted again: with rows in order of score, a
    desirable row beats the undesirable weight before its tie group and half of that within.
    """
    order = np.argsort(score_N, kind="stable")
    label_N, codes_N, ordered = label_N[order], codes_N[order], score_N[order]
    # Where each group of equal scores begins: within a group the order of the rows must not matter.
    ties = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > 0]))
    out = []
    for weight_DC in cluster_weights(int(codes_N.max()) + 1, draws=draws, seed=seed):
        weight_DN = weight_DC[:, codes_N]
        good_DG = np.add.reduceat(weight_DN * label_N, ties, axis=1)
        bad_DG = np.add.reduceat(weight_DN * ~label_N, ties, axis=1)
        # The sum up to and with a group, less half of the group: all below it count, and ties count half.
        beaten_DG = np.cumsum(bad_DG, axis=1) - bad_DG / 2
        pairs_D = good_DG.sum(axis=1) * bad_DG.sum(axis=1)
        wins_D = (good_DG * beaten_DG).sum(axis=1)
        out.append(np.divide(wins_D, pairs_D, out=np.full(len(pairs_D), np.nan), where=pairs_D > 0))
    return np.concatenate(out)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    score_N = finite(scores, "auc")
    raw = np.asarray(labels)
    if raw.shape != score_N.shape or score_N.ndim != 1:
        raise DataError(f"auc: labels of shape {raw.shape} for scores of shape {score_N.shape}; give one label a score")
    if not np.isin(raw, [0, 1]).all():
        raise DataError(f"auc: labels must be true or false, got {raw[~np.isin(raw, [0, 1])][0]}")
    return score_N, raw.astype(np.bool_)


def _codes(label_N: NDArray[np.bool_], clusters: Sequence[Hashable]) -> Codes:
    if len(clusters) != len(label_N):
        raise DataError(f"auc: {len(clusters)} prompt keys for {len(label_N)} rows; give one key a row")
    return cluster_codes(clusters)


def _clusters_by_class(label_N: NDArray[np.bool_], codes_N: Codes) -> tuple[int, int]:
    """Count the prompts with a desirable and those with an undesirable row: what the interval really rests on."""
    return len(np.unique(codes_N[label_N])), len(np.unique(codes_N[~label_N]))


def _method(label_N: NDArray[np.bool_], codes_N: Codes, *, draws: int, left_out: int) -> str:
    method = f"percentile bootstrap over {int(codes_N.max()) + 1} prompts, {draws} draws"
    if left_out:
        method += f", {left_out} of them left out because they held one class only"
    if min(_clusters_by_class(label_N, codes_N)) < FEW_CLUSTERS:
        method += f"; fewer than {FEW_CLUSTERS} prompts of one class, so the interval is probably too narrow"
    return method


def _score_interval(value: float, num_desirable: int, num_undesirable: int, level: float) -> tuple[float, float]:
    """
    Solve for the AUCs from which `value` is z standard errors off: Newcombe's method 5 (Stat. Med. 25, 2006, 559-573).

    The variance is Hanley and McNeil's, with (m + n) / 2 in place of both m and n in its two last terms.
    """
    from scipy.optimize import brentq

    z = normal_quantile((1 + level) / 2)
    extra = (num_desirable + num_undesirable) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (theta - value) ** 2 - z**2 * theta * (1 - theta) * spread / (num_desirable * num_undesirable)

    # A root is searched on each side of the value, and at 0 and 1 one of the two sides is empty.
    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = 0.0 if value == 0 else float(brentq(excess, 0.0, inside))
    high = 1.0 if value == 1 else float(brentq(excess, inside, 1.0))
    return low, high


def _p_value(rows: ScoredRows, *, draws: int, seed: int) -> float:
    """Return the p-value that both AUCs are the same, from draws of prompts for both together."""
    label_N, codes_N = np.asarray(rows.labels, dtype=np.bool_), cluster_codes(rows.prompts)

    def drawn(scores: Sequence[float]) -> Floats:
        return auc_draws(np.asarray(scores, dtype=np.float64), label_N, codes_N, draws=draws, seed=seed)

    change_D = drawn(rows.scores) - drawn(rows.others)
    return p_value_of_draws(change_D[np.isfinite(change_D)])
