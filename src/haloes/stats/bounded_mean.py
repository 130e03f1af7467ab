"""Means over prompts of numbers in [0, 1], such as preferences: intervals for many prompts, few, and unanimous ones."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.bootstrap import (
    DRAWS,
    FEW_CLUSTERS,
    UPPER,
    Codes,
    Floats,
    bootstrap_method,
    cluster_weights,
    codes_for,
    expanded_interval,
    finite,
    normal_quantile,
    t_quantile,
)
from haloes.stats.rates import wilson_interval

# Shapes: N rows, C prompts, D bootstrap draws.

FEW_PROMPTS = 50
"""Below this many prompts the bootstrap is too narrow, and Wilson's interval stands in."""
_IMAGINED = 0.1
"""The part of a prompt that is imagined at both ends. Without one, soft preferences with a mean of 0.05 (Beta with a
sum of 2) are covered in 80 and 87 % by 10 and 20 prompts, with a tenth in 98 and 98; verdicts of 0 and 1 lose nothing.
"""
FEW_ON_ONE_SIDE = 10
"""Wilson's interval also stands in where fewer than about this many prompts speak for one of the two sides."""


def bounded_mean_with_interval(
    values: ArrayLike,
    keys: Sequence[Hashable],
    *,
    name: str,
    variant: str,
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute the mean over prompts of each prompt's mean, so that a prompt with more rows does not count for more.

    The interval comes from resampling prompts with all their rows: what varies within a prompt (seeds, orders) is part
    of how its mean varies. With fewer than 50 prompts, or fewer than 10 prompts' worth on one side, it is Wilson's
    interval with the effective number of prompts n * p (1 - p) / (variance of the prompts' means), adjusted to the t
    distribution as Korn and Graubard (1998) do; ties make that number larger than n, up to what a tenth of a prompt at
    either end would leave of it. Where all prompts agree see `unanimous_interval`.

    Args:
        values: one number in [0, 1] a row.
        keys: the prompt of each row (see `bootstrap.cluster_codes`).
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The score; None with fewer than two prompts.

    Raises:
        DataError: the lengths differ, or a value is not in [0, 1].
    """
    value_N = unit_interval(values, name)
    mean_C = prompt_means(value_N, codes_for(value_N, keys, name))
    num = len(mean_C)
    if num < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    value = float(mean_C.mean())
    # A bootstrap of equal means has no width, however few they are: that would be false certainty.
    if np.ptp(mean_C) == 0:
        low, high = unanimous_interval(value, num)
        method = f"Wilson's bound on the prompts that may differ, as all {num} agree"
    # Few prompts, or few on one side, hold too little of the tails for resampling to find them.
    elif num < FEW_PROMPTS or num * min(value, 1 - value) < FEW_ON_ONE_SIDE:
        low, high, worth = _effective_wilson(mean_C)
        method = f"Wilson, {num} prompts worth {worth:.1f} decided ones"
        method += f"; fewer than {FEW_CLUSTERS} prompts" if num < FEW_CLUSTERS else ""
    else:
        drawn = [weight_DC @ mean_C / num for weight_DC in cluster_weights(num, draws=draws, seed=seed)]
        low, high = expanded_interval(np.concatenate(drawn), num)
        method = f"expanded {bootstrap_method(num, draws)}"
    return Score(
        name=name,
        value=value,
        low=low,
        high=high,
        variant=variant,
        num_rows=len(value_N),
        num_clusters=num,
        method=method,
        label=label,
    )


def as_difference(score: Score) -> Score:
    """Turn the score of a mean of (1 + d) / 2 into that of the paired differences d, which lie in [-1, 1]."""
    return replace(
        score,
        value=2 * score.value - 1,
        low=2 * score.low - 1,
        high=2 * score.high - 1,
        num_rows=2 * score.num_rows,
        method=f"paired {score.method}",
    )


def prompt_means(value_N: Floats, codes_N: Codes) -> Floats:
    """Return the mean of each prompt's rows, by number of the prompt."""
    return np.asarray(np.bincount(codes_N, weights=value_N) / np.bincount(codes_N), dtype=np.float64)


def unanimous_interval(value: float, num_prompts: int) -> tuple[float, float]:
    """
    Bound how far off the mean may be when each of `num_prompts` prompts gave `value`.

    Wilson's upper bound on the share of prompts that are not so, z^2 / (n + z^2), may lie at 0 or at 1. At `value` 0
    and 1 this is Wilson's own interval. A bootstrap would give no width at all.
    """
    z = normal_quantile(UPPER)
    same = num_prompts / (num_prompts + z**2)
    return value * same, value * same + (1 - same)


def unit_interval(values: ArrayLike, name: str) -> Floats:
    """Return the values as float64; raise DataError for one outside [0, 1]."""
    value_N = finite(values, name)
    bad = np.flatnonzero((value_N < 0) | (value_N > 1))
    if len(bad):
        raise DataError(f"{name}: value {value_N[bad[0]]} of row {bad[0]} is not in [0, 1] ({len(bad)} such rows)")
    return value_N


def _effective_wilson(mean_C: Floats) -> tuple[float, float, float]:
    """Return Wilson's interval with the effective number of prompts, and that number."""
    num, share = len(mean_C), float(mean_C.mean())
    z = normal_quantile(UPPER)
    adjust = (z / t_quantile(UPPER, num - 1)) ** 2
    # As many prompts as would have this variance if each were all won or all lost, less the t distribution's share.
    worth = num * share * (1 - share) / float(mean_C.var(ddof=1))
    # Preferences that are all about 0.02 look certain until the first of 0.8 comes: a part of a prompt is imagined,
    # half of it all won and half all lost, and its variance counts too.
    weight_C, with_C = np.append(np.ones(num), [_IMAGINED / 2] * 2), np.append(mean_C, [0.0, 1.0])
    centre = float(np.average(with_C, weights=weight_C))
    variance = float(np.average((with_C - centre) ** 2, weights=weight_C)) * num / (num - 1)
    worth = adjust * min(worth, num * centre * (1 - centre) / variance)
    low, high = wilson_interval(share * worth, worth, z=z)
    return low, high, worth
