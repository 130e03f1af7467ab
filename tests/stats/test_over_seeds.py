"""Means over seeds: both spreads are in the interval, and the p-value is that of the interval."""

import numpy as np
import pytest
from scipy.stats import norm, t

from haloes.stats.over_seeds import interval_over_seeds, p_value_over_seeds

FREE = (-np.inf, np.inf)


def of_prompts(value: float, error: float):
    """A normal interval of prompts."""
    return lambda level: (value - norm.ppf((1 + level) / 2) * error, value + norm.ppf((1 + level) / 2) * error)


def test_squares_of_the_two_half_widths_add_up():
    seeds = np.array([0.1, 0.2, 0.3])
    low, high = interval_over_seeds(of_prompts(0.2, 0.05), seeds, 0.95, bounds=FREE)

    half = np.hypot(1.959964 * 0.05, t.ppf(0.975, 2) * 0.1 / np.sqrt(3))
    assert (low, high) == pytest.approx((0.2 - half, 0.2 + half))
    assert interval_over_seeds(of_prompts(0.2, 0.05), seeds, 0.95, bounds=(0, 1))[0] == 0


def test_of_one_seed_and_of_seeds_that_agree_it_is_the_interval_of_prompts():
    alone = of_prompts(0.2, 0.05)(0.95)

    assert interval_over_seeds(of_prompts(0.2, 0.05), np.array([0.2]), 0.95, bounds=FREE) == alone
    assert interval_over_seeds(of_prompts(0.2, 0.05), np.array([0.2, 0.2]), 0.95, bounds=FREE) == pytest.approx(alone)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_p_value_is_that_of_the_interval(sign: int):
    assert p_value_over_seeds(of_prompts(sign * 0.1, 0.05), np.array([sign * 0.1])) == pytest.approx(2 * norm.sf(2))
    seeds = sign * np.array([0.05, 0.1, 0.15])
    p = p_value_over_seeds(of_prompts(sign * 0.1, 0.05), seeds)
    ends = interval_over_seeds(of_prompts(sign * 0.1, 0.05), seeds, 1 - p, bounds=FREE)
    assert min(map(abs, ends)) == pytest.approx(0, abs=1e-9)
    assert p > 2 * norm.sf(2)
    assert p_value_over_seeds(of_prompts(0.0, 0.05), np.array([0.1, -0.1])) == 1.0


def test_it_covers_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        # What the prompts add is common to the seeds; each has its own luck besides.
        common, own = 0.05 * rng.normal(), 0.05 * rng.normal(size=3)
        seeds = common + own
        low, high = interval_over_seeds(of_prompts(float(seeds.mean()), 0.05), seeds, 0.95, bounds=FREE)
        held += low <= 0 <= high
    assert 0.94 <= held / 1000 <= 0.99
