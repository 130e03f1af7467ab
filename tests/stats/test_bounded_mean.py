"""Means of numbers in [0, 1] over prompts: which interval stands where, and closed forms for each."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.bounded_mean import as_difference, bounded_mean_with_interval, unanimous_interval

Z = 1.959963984540054


def mean(values: Any, keys: Any = None, **settings: Any) -> Score | None:
    keys = list(range(len(values))) if keys is None else keys
    return bounded_mean_with_interval(values, keys, name="liked", variant="after", **settings)


def test_a_prompt_with_more_rows_does_not_count_for_more():
    score = mean([1.0, 0.0, 0.5, 0.5, 0.5, 0.5], list("aabbcc"))
    assert score.value == 0.5
    score = mean([1.0, 0.0, 0.0, 0.0], ["a", "b", "b", "b"])
    assert (score.value, score.num_rows, score.num_clusters) == (0.5, 4, 2)


def test_many_prompts_have_scipys_percentile_bootstrap():
    value = np.random.default_rng(0).choice([0.0, 0.5, 1.0], p=[0.3, 0.2, 0.5], size=400)
    oracle = bootstrap((value,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    score = mean(value, draws=4000)
    assert (score.low, score.high) == pytest.approx((oracle.low, oracle.high), abs=0.004)
    assert score.method == "expanded percentile bootstrap over 400 prompts, 4000 draws"


def test_few_decided_prompts_have_nearly_scipys_wilson_interval():
    # 12 of 20. The variance with n - 1 makes 20 prompts 19, the t quantile 2.093 makes them 19 (1.96 / 2.093)^2 = 16.7.
    score = mean([1.0] * 12 + [0.0] * 8)
    worth = 19 * (Z / 2.0930240544) ** 2
    assert "worth 16.7 decided ones" in score.method
    centre = (0.6 + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z / (1 + Z**2 / worth) * math.sqrt(0.24 / worth + Z**2 / (4 * worth**2))
    assert (score.low, score.high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    oracle = binomtest(12, 20).proportion_ci(method="wilson")
    assert score.low < oracle.low
    assert score.high > oracle.high


def test_ties_make_the_interval_narrower():
    decided = mean([1.0, 0.0] * 10)
    tied = mean([1.0, 0.0] * 2 + [0.5] * 16)
    assert tied.high - tied.low < (decided.high - decided.low) / 2


def test_many_prompts_of_which_few_speak_for_one_side_have_wilsons_interval():
    # 2000 draws of 60 prompts with two losses: some hold none, and the bootstrap would reach 1.
    score = mean([1.0] * 58 + [0.0] * 2)
    assert score.method.startswith("Wilson, 60 prompts")
    assert 0.985 < score.high < 1


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_unanimous_prompts_have_wilsons_interval(won: float):
    oracle = binomtest(int(30 * won), 30).proportion_ci(method="wilson")
    score = mean([won] * 30)
    assert (score.low, score.high) == pytest.approx((oracle.low, oracle.high))


def test_unanimous_ties_leave_room_for_the_prompts_that_may_differ():
    # z^2 / (n + z^2) of the prompts, at 0 or at 1.
    low, high = unanimous_interval(0.5, 100)
    rest = Z**2 / (100 + Z**2)
    assert (low, high) == pytest.approx((0.5 - rest / 2, 0.5 + rest / 2))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 30)), min_size=2, max_size=80))
def test_the_mean_lies_inside_and_swapping_the_sides_mirrors_it(rows: list[tuple[float, int]]):
    values, keys = [value for value, _ in rows], [key for _, key in rows]
    score, mirrored = mean(values, keys, draws=50), mean([1 - value for value in values], keys, draws=50)
    if score is None:
        assert len(set(keys)) < 2
        return
    assert 0 <= score.low <= score.value + 1e-9
    assert score.value <= score.high + 1e-9 <= 1 + 2e-9
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx(
        (1 - score.value, 1 - score.high, 1 - score.low), abs=1e-9
    )


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan])
def test_values_outside_the_unit_interval_are_refused(bad: float):
    with pytest.raises(DataError, match=r"liked: value .* of row 1 is not"):
        mean([0.5, bad])


def test_one_prompt_has_no_interval():
    assert mean([1.0, 0.0], ["a", "a"]) is None
    assert mean([]) is None


def test_a_difference_is_moved_back_to_its_scale():
    change = np.array([1.0, -1.0, 0.0, 1.0])
    moved = mean((1 + change) / 2)
    assert moved is not None
    found = as_difference(moved)

    assert found.value == change.mean()
    assert (found.low, found.high) == (2 * moved.low - 1, 2 * moved.high - 1)
    assert found.num_rows == 8
    assert found.method.startswith("paired ")
