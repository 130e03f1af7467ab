"""The cluster bootstrap: what counts as one unit, closed forms for its spread, and coverage."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.stats import norm, t, ttest_1samp

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.bootstrap import (
    cluster_codes,
    cluster_weights,
    difference_with_interval,
    expanded_interval,
    mean_with_interval,
    normal_quantile,
    p_value_of_draws,
    percentile_interval,
    t_quantile,
)


def mean(values: ArrayLike, keys: Sequence[Hashable], **settings: Any) -> Score | None:
    return mean_with_interval(values, keys, name="words", variant="after", **settings)


def difference(
    before: ArrayLike,
    before_keys: Sequence[Hashable],
    after: ArrayLike,
    after_keys: Sequence[Hashable],
    **settings: Any,
) -> Score | None:
    return difference_with_interval(before, before_keys, after, after_keys, name="words", **settings)


def test_rows_with_equal_keys_are_one_cluster_in_order_of_appearance():
    assert cluster_codes(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


def test_a_row_without_a_key_stands_alone():
    assert cluster_codes([None, "a", None, "a"]).tolist() == [0, 1, 2, 1]


def test_every_draw_takes_as_many_clusters_as_there_are():
    weights = np.concatenate(list(cluster_weights(7, draws=500, seed=0)))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    # Each weight is Binomial(7, 1/7): mean 1, variance 6/7.
    assert weights.mean() == pytest.approx(1)
    assert weights.var() == pytest.approx(6 / 7, rel=0.05)


def test_draws_do_not_need_more_memory_than_a_chunk_at_a_time():
    shapes = [weights.shape for weights in cluster_weights(1_500_000, draws=3, seed=0)]
    assert shapes == [(2, 1_500_000), (1, 1_500_000)]


def test_the_percentile_interval_is_central():
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


def test_the_expanded_interval_of_a_mean_is_students():
    # Means of n draws spread by sd(n) / root n, with n in the denominator of sd(n); Student's interval has n - 1.
    value = np.random.default_rng(3).normal(size=12)
    drawn = np.random.default_rng(4).normal(value.mean(), value.std() / math.sqrt(12), size=400_000)
    oracle = ttest_1samp(value, 0).confidence_interval(0.95)
    assert expanded_interval(drawn, 0.95, 12) == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_the_mean_is_over_rows_and_its_spread_over_clusters():
    # Two prompts (0, 0, 0) and (4): draws are AA = 0 (1/4), AB = 1 (1/2), BB = 4 (1/4).
    score = mean([0.0, 0.0, 0.0, 4.0], ["a", "a", "a", "b"], level=0.4)
    assert (score.value, score.low, score.high) == (1.0, 1.0, 1.0)
    wide = mean([0.0, 0.0, 0.0, 4.0], ["a", "a", "a", "b"])
    assert (wide.low, wide.high) == (0.0, 4.0)
    assert (wide.num_rows, wide.num_clusters) == (4, 2)


def test_with_many_rows_the_interval_is_the_normal_one():
    value = np.random.default_rng(0).normal(3, 2, size=2000)
    score = mean(value, list(range(2000)), draws=4000)
    half = 1.96 * value.std() / math.sqrt(2000)
    assert score.value == pytest.approx(value.mean())
    assert (score.low, score.high) == pytest.approx((value.mean() - half, value.mean() + half), abs=0.06 * half)


def test_few_clusters_are_flagged_in_the_method():
    assert "fewer than 10 prompts" in mean([1.0, 2.0, 3.0], list("abc")).method
    assert "fewer" not in mean(np.arange(10.0), list(range(10))).method


@pytest.mark.parametrize("num", [0, 1, 3])
def test_fewer_than_two_prompts_have_no_interval(num: int):
    assert mean([1.0] * num, ["a"] * num) is None
    assert difference([1.0] * num, ["a"] * num, [2.0] * num, ["a"] * num) is None


def test_the_difference_is_paired_so_hard_prompts_cancel_out():
    prompt = np.random.default_rng(1).normal(scale=50, size=80)
    score = difference(prompt, list(range(80)), prompt + 3, list(range(80)))
    assert (score.value, score.low, score.high) == pytest.approx((3, 3, 3))
    assert score.variant == "difference"
    assert score.num_clusters == 80


def test_pairing_goes_by_prompt_and_not_by_row():
    keys = list(range(30))
    before = np.arange(30.0)
    score = difference(before, keys, before[::-1] + 1, keys[::-1])
    assert (score.value, score.low, score.high) == pytest.approx((1, 1, 1))


def test_the_sides_may_hold_different_numbers_of_rows():
    # Prompt a: 1 before, 2 and 4 after; prompt b: 3 before, 6 after. Means 2 and 4.
    # Draws: aa 2, bb 3, ab (2+4+6)/3 - 2 = 2.
    score = difference([1.0, 3.0], ["a", "b"], [2.0, 4.0, 6.0], ["a", "a", "b"])
    assert score.value == pytest.approx(2)
    assert (score.low, score.high) == pytest.approx((2, 3))


def test_a_prompt_on_one_side_only_is_refused():
    with pytest.raises(DataError, match=r"'c' is on one side only \(1 such"):
        difference([1.0, 2.0], ["a", "b"], [1.0, 2.0, 3.0], ["a", "b", "c"])


def test_rows_without_a_prompt_cannot_be_paired():
    with pytest.raises(DataError, match="prompt key is None"):
        difference([1.0, 2.0], ["a", None], [1.0, 2.0], ["a", None])


def test_values_must_be_finite_and_have_one_key_each():
    with pytest.raises(DataError, match="words: value inf of row 0"):
        mean([math.inf, 1.0], ["a", "b"])
    with pytest.raises(DataError, match="3 prompt keys for values of shape"):
        mean([0.0, 1.0], ["a", "b", "c"])


def test_the_interval_of_a_clustered_mean_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    keys = (np.arange(120) // 3).tolist()
    covered = 0
    for run in range(300):
        value = rng.normal(size=120) + np.repeat(rng.normal(size=40), 3)
        score = mean(value, keys, level=0.9, draws=300, seed=run)
        covered += score.low <= 0 <= score.high
    assert 0.84 <= covered / 300 <= 0.94


def test_a_p_value_of_draws_counts_the_sample_as_one_of_them():
    # Of 9 draws and the sample 2 lie on the smaller side: 2 * 2 / 10.
    assert p_value_of_draws(np.array([1.0] * 8 + [-1.0])) == pytest.approx(0.4)
    assert p_value_of_draws(np.ones(9)) == pytest.approx(0.2)
    assert p_value_of_draws(np.zeros(9)) == 1.0


@pytest.mark.parametrize("share", [0.025, 0.5, 0.8, 0.975, 0.995])
def test_quantiles_are_those_of_scipys_distributions(share: float):
    assert normal_quantile(share) == norm.ppf(share)
    assert [t_quantile(share, df) for df in (1, 4, 30, 999)] == [t.ppf(share, df) for df in (1, 4, 30, 999)]
