"""Holm's correction against sums done by hand, and against statsmodels where it is installed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.stats.holm import holm

p_values = st.lists(st.floats(0, 1), max_size=12)


def test_each_p_value_is_multiplied_by_the_comparisons_that_are_left():
    # Sorted: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06, 0.04 * 1 = 0.04 -> not below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_nothing_rises_above_one():
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_one_comparison_needs_no_correction_and_none_gives_none():
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(p_values)
def test_the_order_of_the_raw_values_is_kept_and_none_becomes_smaller(p: list[float]):
    adjusted = holm(p)
    assert all(after >= before for before, after in zip(p, adjusted, strict=True))
    for i in range(len(p)):
        for j in range(len(p)):
            assert p[i] > p[j] or adjusted[i] <= adjusted[j]


@given(p_values)
def test_it_rejects_what_the_step_down_procedure_rejects(p: list[float]):
    # The procedure as Holm states it: go up the sorted values, stop at the first above alpha / (those left).
    alpha, rejected = 0.05, set()
    for step, row in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[row] * (len(p) - step) > alpha:
            break
        rejected.add(row)
    assert {row for row, value in enumerate(holm(p)) if value <= alpha} == rejected


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_what_is_no_p_value_is_refused(bad: float):
    with pytest.raises(DataError, match=r"of comparison 1 is not between 0 and 1"):
        holm([0.5, bad])


@pytest.mark.peer
def test_statsmodels_gives_the_same():
    multitest = pytest.importorskip(
        "statsmodels.stats.multitest", reason="statsmodels is not installed (make test-peers runs it)"
    )
    p = np.random.default_rng(0).random(20) ** 3
    assert holm(p.tolist()) == pytest.approx(multitest.multipletests(p, method="holm")[1])
