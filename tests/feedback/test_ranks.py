"""The AUC and quantiles, against scipy and sums done by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from haloes.feedback.ranks import auc, auc_noise, quantile


def test_auc_of_a_worked_example_with_a_tie() -> None:
    # Desirable 3 and 5, undesirable 1 and 3: of the four comparisons three are won and one is tied: 3.5 / 4.
    assert auc(np.array([3, 1, 5, 3]), np.array([True, False, True, False])) == 0.875


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_auc_is_the_share_that_mann_and_whitney_count(rows: list[tuple[int, bool]]) -> None:
    value_N = np.array([value for value, _ in rows])
    desirable_N = np.array([label for _, label in rows])
    good, bad = value_N[desirable_N], value_N[~desirable_N]

    if len(good) == 0 or len(bad) == 0:
        assert auc(value_N, desirable_N) is None
    else:
        assert auc(value_N, desirable_N) == pytest.approx(mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def test_the_noise_of_the_auc_is_its_spread_over_random_labels() -> None:
    rng = np.random.default_rng(0)
    value_N = np.arange(60)
    found = [auc(value_N, rng.permutation(np.arange(60) < 20)) for _ in range(3000)]

    assert auc_noise(20, 40) == pytest.approx(np.std(found), rel=0.05)


def test_a_quantile_is_a_value_of_the_data() -> None:
    # Half of 1, 2, 10, 20 do not exceed 2; 95 % of the four are reached at the last.
    assert quantile(np.array([10, 1, 20, 2]), 0.5) == 2
    assert quantile(np.array([10, 1, 20, 2]), 0.95) == 20
    assert quantile(np.array([7]), 0.95) == 7
