"""
How far off a mean over rows of several prompts may be: its variance by components, and its skewness.

Shapes: N rows, C clusters (prompts).
"""

from dataclasses import dataclass

import numpy as np

from haloes.stats.bootstrap import FEW_CLUSTERS, Codes, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What is known of how far off a mean may be."""

    standard_error: float
    skewness: float
    """Of the mean, not of the rows."""
    degrees_of_freedom: float
    worth: float
    """How many independent rows would give such a mean."""


def mean_spread(value_N: Floats, codes_N: Codes) -> Spread:
    """
    Estimate the spread of the mean over rows: the variance by components between and within prompts (Searle 1971).

    Sums of squares over whole prompts would do for prompts of about the same size. Where one has half of the rows a
    single square decides, and the interval is useless or wrong; components borrow from the other prompts.
    """
    size_C = np.bincount(codes_N)
    num_clusters = len(size_C)
    num, rest = len(value_N), len(value_N) - num_clusters
    mean, mean_C = value_N.mean(), np.bincount(codes_N, weights=value_N) / size_C
    total = float(value_N.var(ddof=1))
    between = float(size_C @ (mean_C - mean) ** 2) / (num_clusters - 1)
    within = float(((value_N - mean_C[codes_N]) ** 2).sum()) / rest if rest else 0.0
    if between <= within:
        # Rows of a prompt are no more alike than others.
        variance, freedom = total / num, num_clusters - 1.0
    else:
        squares = float((size_C.astype(np.float64) ** 2).sum())
        # var(mean) = b * squares / num^2 + w / num with w = `within` and b = (between - w) / (size that counts).
        of_between = squares / num**2 * (num_clusters - 1) / (num - squares / num)
        of_within = 1 / num - of_between
        variance = of_between * between + of_within * within
        # Satterthwaite's degrees of freedom of a sum of mean squares; never more than the prompts give. One of the two
        # may count negatively, where his formula ends near 0 and t at thousands; with two they cover as often.
        square_sum = (of_between * between) ** 2 / (num_clusters - 1)
        square_sum += (of_within * within) ** 2 / rest if rest else 0.0
        freedom = min(max(variance**2 / square_sum, 2.0), num_clusters - 1.0)
    if variance == 0:
        return Spread(standard_error=0.0, skewness=0.0, degrees_of_freedom=freedom, worth=float(num))
    worth = max(total / variance, 1.0)
    third = float(((value_N - mean) ** 3).mean()) / float(value_N.var()) ** 1.5
    skewness = third / worth**0.5 * _unseen(worth)
    return Spread(standard_error=variance**0.5, skewness=skewness, degrees_of_freedom=freedom, worth=worth)


def weighted_pairs_spread(before_C: Floats, before_weight_C: Floats, after_C: Floats, after_weight_C: Floats) -> Spread:
    """
    Estimate the spread of a weighted mean after less one before, of which each prompt gives a pair of means.

    The pairs are taken to be draws from one distribution, whose (co)variances and third moments count as the weights
    say. Where the weights of the two sides differ, how hard a prompt is does not cancel, and here it counts.

    Args:
        before_C: the mean of each prompt's rows before.
        before_weight_C: the share of each prompt in the mean before.
        after_C: those after.
        after_weight_C: their shares.
    """
    num = len(before_C)
    old_C, new_C = before_C - before_C.mean(), after_C - after_C.mean()
    was_C, now_C = before_weight_C, after_weight_C
    square = now_C @ now_C * (new_C @ new_C) + was_C @ was_C * (old_C @ old_C) - 2 * (was_C @ now_C) * (old_C @ new_C)
    variance = float(square) / (num - 1)
    if variance <= 0:
        return Spread(standard_error=0.0, skewness=0.0, degrees_of_freedom=num - 1.0, worth=float(num))
    cube = (now_C**3).sum() * (new_C**3).mean() - (was_C**3).sum() * (old_C**3).mean()
    cube += 3 * (now_C @ was_C**2 * (new_C * old_C**2).mean() - now_C**2 @ was_C * (new_C**2 * old_C).mean())
    skewness = float(cube) / variance**1.5 * _unseen(num)
    return Spread(standard_error=variance**0.5, skewness=skewness, degrees_of_freedom=num - 1.0, worth=float(num))


def said_of_few(size_C: Codes) -> str:
    """
    Return what a method says more where prompts of these sizes are worth ten equal ones or fewer (Kish, 1965).

    One with half of the rows makes them worth four at most, however many others there are.
    """
    if size_C.sum() ** 2 / (size_C**2).sum() > FEW_CLUSTERS:
        return ""
    return "; prompts so few or uneven: such intervals covered 88 to 100 % in simulations"


def _unseen(rows: float) -> float:
    """Return what a sample's skewness is multiplied with: few rows show too little of a long tail (by simulation)."""
    return 1 + 5 / rows
