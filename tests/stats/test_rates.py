"""Shares against scipy and sums done by hand."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.stats import binom, binomtest, norm

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.both_sides import BothSides
from haloes.stats.rates import (
    agresti_coull_interval,
    independent_rows,
    share_difference_with_interval,
    share_with_interval,
    sign_test,
    wilson_interval,
)


@pytest.mark.peer
@pytest.mark.parametrize(("successes", "trials"), [(0, 9), (3, 10), (57, 100), (200, 200)])
def test_statsmodels_gives_the_same_interval(successes: int, trials: int):
    proportion = pytest.importorskip(
        "statsmodels.stats.proportion", reason="statsmodels is not installed (make test-peers runs it)"
    )
    for method, interval in (("wilson", wilson_interval), ("agresti_coull", agresti_coull_interval)):
        low, high = proportion.proportion_confint(successes, trials, method=method)
        assert interval(successes, trials, z=norm.ppf(0.975)) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-12)


def share(outcomes: ArrayLike, keys: Sequence[Hashable], **settings: Any) -> Score | None:
    return share_with_interval(outcomes, keys, name="liked", variant="after", **settings)


def difference(
    before: Sequence[bool], after: Sequence[bool], keys: Sequence[Hashable] | None = None, **settings: Any
) -> Score | None:
    keys = list(range(len(before))) if keys is None else keys
    return share_difference_with_interval(BothSides(before, keys, after, keys), name="liked", **settings)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_independent_rows_have_an_interval_around_scipys_wilson_interval(counts: tuple[int, int]):
    successes, trials = counts
    oracle = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(successes, trials, z=norm.ppf(0.975)) == pytest.approx(oracle, abs=1e-12)
    score = share([True] * successes + [False] * (trials - successes), list(range(trials)))
    if trials == 1:
        assert score is None
    else:
        assert 0 <= score.low <= oracle.low + 1e-12 <= score.value + 1e-12
        assert score.value - 1e-12 <= oracle.high - 1e-12 <= score.high <= 1


def test_agresti_and_coulls_interval_by_hand():
    # With z = 2 two successes and two failures are imagined: 3 of 10 become 5 of 14.
    half = 2 * math.sqrt(5 / 14 * 9 / 14 / 14)
    assert agresti_coull_interval(3, 10, z=2.0) == pytest.approx((5 / 14 - half, 5 / 14 + half))
    assert agresti_coull_interval(0, 10, z=2.0)[0] == 0


@pytest.mark.parametrize("num", [10, 20, 50])
def test_no_share_from_0_01_to_0_99_is_covered_by_less_than_92_per_cent(num: int):
    intervals = [share([True] * k + [False] * (num - k), list(range(num))) for k in range(num + 1)]
    for truth in np.linspace(0.01, 0.99, 99):
        chance = binom.pmf(np.arange(num + 1), num, truth)
        held = [score.low <= truth <= score.high for score in intervals]
        assert chance @ held > 0.92


def test_the_bounds_are_exact_where_no_row_or_every_row_is_true():
    # Wilson at 0 of n: high = z^2 / (n + z^2).
    assert wilson_interval(0, 10, z=2.0) == (0.0, pytest.approx(4 / 14))
    assert wilson_interval(10, 10, z=2.0) == (pytest.approx(10 / 14), 1.0)


def test_copies_of_a_row_count_as_one():
    # Ten prompts with four equal answers each: p (1 - p) by p (1 - p) / 9, and (1.96 / 2.262)^2 for ten prompts.
    outcomes = np.repeat([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], 4)
    keys = np.repeat(np.arange(10), 4)
    assert independent_rows(outcomes.astype(float), keys) == pytest.approx(9 * (1.959964 / 2.262157) ** 2)
    score = share(outcomes, keys.tolist())
    independent = share([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], list(range(10)))
    assert score.low < independent.low
    assert score.high > independent.high
    assert (score.num_rows, score.num_clusters) == (40, 10)


def test_clustered_rows_that_all_agree_count_one_each_prompt():
    score = share([True] * 60, (np.arange(60) // 3).tolist())
    alone = share([True] * 20, list(range(20)))
    assert score.high == 1.0
    # 2.093 is the t quantile with 19 degrees of freedom.
    worth = 20 * (1.959964 / 2.093024) ** 2
    assert score.low == pytest.approx(agresti_coull_interval(worth, worth, z=1.959964)[0], rel=1e-5)
    assert score.low < alone.low


def test_few_prompts_and_one_with_half_of_the_rows_are_named_with_what_their_intervals_covered():
    uneven = share([True, False] * 20, [0] * 20 + list(range(20)))
    assert "covered 88 to 100 % in simulations" in uneven.method
    assert "covered 88 to 100 % in simulations" in share([True, False] * 5, list(range(10))).method
    assert "simulations" not in share([True, False] * 10, list(range(20))).method


def test_fewer_than_two_prompts_have_no_interval():
    assert share([True, False], ["a", "a"]) is None
    assert share([], []) is None
    assert difference([True], [False]) is None


def test_the_clustered_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    keys = (np.arange(100) // 4).tolist()
    covered = 0
    for _ in range(500):
        chance = np.repeat(rng.beta(1, 3, size=25), 4)  # the mean of Beta(1, 3) is 1/4
        score = share(rng.random(100) < chance, keys)
        covered += score.low <= 0.25 <= score.high
    assert 0.93 <= covered / 500 <= 0.98


def test_outcomes_must_be_true_or_false():
    with pytest.raises(DataError, match=r"liked: outcomes must be true or false, got 0\.5"):
        share([0.5, 1.0], ["a", "b"])


def test_a_paired_difference_by_hand():
    # 20 prompts: 8 gained, 2 lost. Smoothed: 9/22 and 3/22. Their difference 6/22, their sum 12/22.
    before = [False] * 8 + [True] * 2 + [True] * 5 + [False] * 5
    after = [True] * 8 + [False] * 2 + [True] * 5 + [False] * 5
    score = difference(before, after)
    half = 1.959964 * math.sqrt((12 / 22 - (6 / 22) ** 2) / 22)
    assert score.value == pytest.approx(6 / 20)
    assert (score.low, score.high) == pytest.approx((6 / 22 - half, 6 / 22 + half), rel=1e-6)


def test_no_change_at_all_is_still_uncertain():
    score = difference([True] * 30, [True] * 30)
    assert score.value == 0
    assert score.low == pytest.approx(-score.high)
    assert 0.05 < score.high < 0.15


def test_a_paired_difference_goes_by_prompt():
    before, after = [True, False, False, True], [True, True, False, True]
    score = share_difference_with_interval(BothSides(before, list("abcd"), after[::-1], list("dcba")), name="liked")
    assert score == difference(before, after)


def test_several_answers_a_prompt_count_by_prompt():
    keys = (np.arange(60) // 3).tolist()
    score = difference([False] * 60, ([True] * 3 + [False] * 6) * 6 + [True] * 3 + [False] * 3, keys)
    alone = difference([False] * 20, [True, False, False] * 6 + [True, False], list(range(20)))
    assert score.value == alone.value
    # As wide as one answer for each prompt makes it, in another form.
    assert score.high - score.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert "20 prompts" in score.method


def test_sides_about_different_prompts_are_refused():
    with pytest.raises(DataError, match="on one side only"):
        share_difference_with_interval(BothSides([True, False], ["a", "b"], [True, False], ["a", "c"]), name="liked")


def test_the_difference_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        before = rng.random(40) < 0.3
        after = np.where(rng.random(40) < 0.3, rng.random(40) < 0.9, before)  # truth: 0.3 * (0.9 - 0.3) = 0.18
        score = difference(before, after)
        covered += score.low <= 0.18 <= score.high
    assert 0.92 <= covered / 500 <= 0.98


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_mcnemar_is_the_binomial_tail_over_the_answers_that_changed(pairs: list[tuple[bool, bool]]):
    before, after = [b for b, _ in pairs], [a for _, a in pairs]
    up = sum(a and not b for b, a in pairs)
    down = sum(b and not a for b, a in pairs)
    tail = sum(math.comb(up + down, k) for k in range(min(up, down) + 1)) / 2 ** (up + down)
    result = sign_test(before, after)
    assert (result.up, result.down, result.same) == (up, down, len(pairs) - up - down)
    assert result.p_value == pytest.approx(min(1.0, 2 * tail))


def test_the_sign_test_takes_numbers_too():
    # 5 up, none down: 2 * (1/2)^5.
    result = sign_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 3.0, 4.0, 5.0, 6.0, 6.0])
    assert (result.up, result.down, result.same) == (5, 0, 1)
    assert result.p_value == pytest.approx(1 / 16)


def test_the_sign_test_needs_pairs():
    with pytest.raises(DataError, match="must pair up"):
        sign_test([1.0], [1.0, 2.0])
