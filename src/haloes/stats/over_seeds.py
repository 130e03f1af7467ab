"""
Means over runs that differ in their seed alone: intervals of prompts and seeds together.

An interval of prompts is about these very weights. Another seed gives other weights, and what that changes is often as
large: two methods are then called different that differ no more than two seeds of one. The two parts are independent,
so that the squares of their half-widths add up, each with its own t distribution (Zou and Donner's MOVER, Stat. Med.
27, 2008, 1693-1702).
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from haloes.stats.bootstrap import Floats, t_quantile

Limits: TypeAlias = Callable[[float], tuple[float, float]]
"""Gives the interval of the mean over seeds for a level, of prompts alone."""

_SMALLEST_P = 1e-9


def interval_over_seeds(
    of_prompts: Limits, value_S: Floats, level: float, *, bounds: tuple[float, float]
) -> tuple[float, float]:
    """
    Return the interval of a mean over seeds.

    Args:
        of_prompts: the interval of that mean for these seeds.
        value_S: the number of each seed, (S,). Of one seed nothing is known of others: the interval is that of prompts.
        level: coverage of the interval.
        bounds: what such a number can be at all.
    """
    low, high = of_prompts(level)
    num = len(value_S)
    if num < 2:  # noqa: PLR2004 - one seed has no spread
        return low, high
    value = float(value_S.mean())
    of_seeds = t_quantile((1 + level) / 2, num - 1) * float(value_S.std(ddof=1)) / num**0.5
    return (
        max(value - float(np.hypot(value - low, of_seeds)), bounds[0]),
        min(value + float(np.hypot(high - value, of_seeds)), bounds[1]),
    )


def p_value_over_seeds(of_prompts: Limits, value_S: Floats) -> float:
    """Return 1 less the level of the interval that ends at zero; arguments as in `interval_over_seeds`."""
    from scipy.optimize import brentq

    value = float(value_S.mean())
    if value == 0:
        return 1.0

    def nearest_end(p: float) -> float:
        low, high = interval_over_seeds(of_prompts, value_S, 1 - p, bounds=(-np.inf, np.inf))
        return low if value > 0 else -high

    # The interval of no level at all is the number itself, and lies on its side of zero.
    if nearest_end(_SMALLEST_P) > 0:
        return _SMALLEST_P
    return float(brentq(nearest_end, _SMALLEST_P, 1.0, xtol=1e-12))
