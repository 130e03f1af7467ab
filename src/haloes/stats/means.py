"""
Means of any numbers, such as words or nats, and their differences: t intervals that know skewness and prompts.

Lengths and divergences are skewed: most are small and a few large, and a sample that misses the large ones has too
small a mean *and* too small a spread. Resampling prompts, or Student's t, then covers 78 to 90 % where 95 % is said.
Chosen by simulation (`design/015-means.md`): Hall's transformation of t, with a variance by components; without draws.

Shapes: N and M rows, C clusters (prompts).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from haloes.results import Score
from haloes.stats.bootstrap import (
    FEW_CLUSTERS,
    Codes,
    Floats,
    codes_for,
    finite,
    t_quantile,
)
from haloes.stats.both_sides import BothSides


def mean_with_interval(
    values: ArrayLike,
    keys: Sequence[Hashable],
    *,
    name: str,
    variant: str,
    label: str = "",
    level: float = 0.95,
    bounds: tuple[float, float] = (-inf, inf),
) -> Score | None:
    """
    Compute the mean over rows, with an interval that counts prompts as independent, and not rows.

    Args:
        values: one finite number a row.
        keys: the prompt identity of each row (see `bootstrap.cluster_codes`).
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        level: coverage of the interval.
        bounds: what such a number can be at all, such as (0, inf) for a length; no interval reaches further.

    Returns:
        The score; None with fewer than two prompts, since then no interval exists.

    Raises:
        DataError: the lengths differ, or a value is not finite.
    """
    value_N = finite(values, name)
    codes_N = codes_for(value_N, keys, name)
    return _score(value_N, codes_N, name=name, variant=variant, label=label, level=level, bounds=bounds)


def difference_with_interval(
    sides: BothSides,
    *,
    name: str,
    label: str = "",
    level: float = 0.95,
    bounds: tuple[float, float] = (-inf, inf),
) -> Score | None:
    """
    Compute the mean after minus the mean before on the same prompts, with the interval of paired differences.

    What makes a prompt easy or hard cancels out. The sides may hold different numbers of rows for a prompt. Further
    arguments and result as in `mean_with_interval`.

    Raises:
        DataError: the two sides are not about the same prompts, the lengths differ, or a value is not finite.
    """
    before_N, after_M = finite(sides.before, name), finite(sides.after, name)
    before_codes, after_codes = sides.codes(before_N, after_M, name)
    change, codes_of_change = paired_changes(before_N, before_codes, after_M, after_codes)
    num_rows = len(before_N) + len(after_M)
    return _score(
        change,
        codes_of_change,
        name=name,
        variant="difference",
        label=label,
        level=level,
        bounds=bounds,
        num_rows=num_rows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What is known of how far off a mean may be."""

    standard_error: float
    skewness: float
    """Of the mean, not of the rows."""
    degrees_of_freedom: float


def _score(
    value_N: Floats,
    codes_N: Codes,
    *,
    name: str,
    variant: str,
    label: str,
    level: float,
    bounds: tuple[float, float],
    num_rows: int | None = None,
) -> Score | None:
    num_clusters = int(codes_N.max(initial=-1)) + 1
    if num_clusters < 2:  # noqa: PLR2004 - one cluster has no spread
        return None
    mean, spread = float(value_N.mean()), mean_spread(value_N, codes_N)
    low, high = _hall_interval(mean, spread, level)
    method = f"t interval with Hall's correction for skewness, {num_clusters} prompts"
    size_C = np.bincount(codes_N)
    # Kish's number of equal prompts, which one with half of the rows makes four at most.
    if len(codes_N) ** 2 / (size_C**2).sum() <= FEW_CLUSTERS:
        method += "; prompts so few or uneven: of skewed numbers such intervals covered 86 to 95 % in simulations"
    return Score(
        name=name,
        value=mean,
        low=max(low, bounds[0]),
        high=min(high, bounds[1]),
        level=level,
        variant=variant,
        num_rows=len(value_N) if num_rows is None else num_rows,
        num_clusters=num_clusters,
        method=method if variant != "difference" else f"paired {method}",
        label=label,
    )


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
        # Satterthwaite's degrees of freedom of a sum of mean squares; never more than the prompts give.
        square_sum = (of_between * between) ** 2 / (num_clusters - 1)
        square_sum += (of_within * within) ** 2 / rest if rest else 0.0
        freedom = min(variance**2 / square_sum, num_clusters - 1.0)
    if variance == 0:
        return Spread(standard_error=0.0, skewness=0.0, degrees_of_freedom=freedom)
    worth = max(total / variance, 1.0)
    third = float(((value_N - mean) ** 3).mean()) / float(value_N.var()) ** 1.5
    # Few rows show too little of a long tail; how much too little was found by simulation.
    skewness = third * (1 + 5 / worth) / worth**0.5
    return Spread(standard_error=variance**0.5, skewness=skewness, degrees_of_freedom=freedom)


def _hall_interval(mean: float, spread: Spread, level: float) -> tuple[float, float]:
    """
    Return the interval of Hall (J. R. Stat. Soc. B 54, 1992, 221-228): t after a cubic that takes its skewness away.

    With T = (mean - truth) / standard error and the mean's skewness g, T + g T^2 / 3 + g^2 T^3 / 27 + g / 6 is nearly
    symmetric. It rises with T, so that its quantiles can be taken back. Without skewness this is Student's interval.
    """
    beyond = t_quantile((1 + level) / 2, spread.degrees_of_freedom)
    return (
        mean - spread.standard_error * _taken_back(beyond, spread.skewness),
        mean - spread.standard_error * _taken_back(-beyond, spread.skewness),
    )


def _taken_back(quantile: float, skewness: float) -> float:
    """Return the T at which Hall's cubic is this."""
    # As the skewness goes to 0 the formula is 0 / 0; T itself is its limit.
    if abs(skewness) < 1e-9:  # noqa: PLR2004
        return quantile
    return float(3 / skewness * (np.cbrt(1 + skewness * (quantile - skewness / 6)) - 1))


def paired_changes(
    before_N: Floats, before_codes_N: Codes, after_M: Floats, after_codes_M: Codes
) -> tuple[Floats, Codes]:
    """Return numbers whose mean is the difference of the two means, and the prompt of each."""
    before_size_C, after_size_C = np.bincount(before_codes_N), np.bincount(after_codes_M)
    if np.array_equal(before_size_C, after_size_C):
        # Row against row of the same prompt: which with which of several does not matter to the mean.
        before_order, after_order = np.argsort(before_codes_N, kind="stable"), np.argsort(after_codes_M, kind="stable")
        return after_M[after_order] - before_N[before_order], before_codes_N[before_order]
    # What each prompt contributes: its sum's distance from what its number of rows would make of the mean.
    num = len(before_size_C)
    difference = after_M.mean() - before_N.mean()
    change_C = np.full(num, difference)
    for sign, value, codes, size in (
        (1, after_M, after_codes_M, after_size_C),
        (-1, before_N, before_codes_N, before_size_C),
    ):
        total_C = np.bincount(codes, weights=value, minlength=num)
        change_C += sign * num * (total_C - value.mean() * size) / len(value)
    return change_C, np.arange(num)
