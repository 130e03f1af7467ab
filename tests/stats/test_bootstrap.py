"""The cluster bootstrap: what counts as one unit, closed forms for its spread, and coverage."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp

from haloes.stats.bootstrap import (
    cluster_codes,
    cluster_weights,
    expanded_interval,
    normal_quantile,
    p_value_of_draws,
    percentile_interval,
    t_quantile,
)


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
    assert expanded_interval(drawn, 12) == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_a_p_value_of_draws_counts_the_sample_as_one_of_them():
    # Of 9 draws and the sample 2 lie on the smaller side: 2 * 2 / 10.
    assert p_value_of_draws(np.array([1.0] * 8 + [-1.0])) == pytest.approx(0.4)
    assert p_value_of_draws(np.ones(9)) == pytest.approx(0.2)
    assert p_value_of_draws(np.zeros(9)) == 1.0


@pytest.mark.parametrize("share", [0.025, 0.5, 0.8, 0.975, 0.995])
def test_quantiles_are_those_of_scipys_distributions(share: float):
    assert normal_quantile(share) == norm.ppf(share)
    assert [t_quantile(share, df) for df in (1, 4, 30, 999)] == [t.ppf(share, df) for df in (1, 4, 30, 999)]
