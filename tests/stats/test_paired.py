"""Paired differences of several models: tests against scipy's permutation test, and the correction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from haloes.errors import DataError
from haloes.stats.paired import holm, paired_differences, sign_flip_test

PROMPTS = list(range(60))

p_values = st.lists(st.floats(0, 1), max_size=12)


def model(seed: int, chance: float) -> tuple[list[float | None], list[int]]:
    return (np.random.default_rng(seed).random(60) < chance).astype(float).tolist(), PROMPTS


def test_few_differences_are_flipped_in_every_way():
    # Of 16 sign patterns of 1, 2, 3, 4 the sums +10 and -10 are as large; of 1, 1, 1, -1: all but the 6 with sum 0.
    assert sign_flip_test([1.0, 2.0, 3.0, 4.0]) == 2 / 16
    assert sign_flip_test([1.0, 1.0, 1.0, -1.0]) == 10 / 16


def test_ten_differences_have_scipys_p_value():
    change = np.random.default_rng(0).normal(0.5, 1, size=10)
    oracle = permutation_test((change,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(change) == pytest.approx(oracle.pvalue)


def test_many_differences_have_nearly_scipys_p_value():
    change = np.random.default_rng(1).normal(0.2, 1, size=80)
    oracle = permutation_test((change,), np.mean, permutation_type="samples", n_resamples=20_000, rng=2)
    assert sign_flip_test(change) == pytest.approx(oracle.pvalue, abs=0.015)


def test_unchanged_prompts_say_nothing_and_no_p_value_is_zero():
    assert sign_flip_test([0.0, 0.0]) == 1
    assert sign_flip_test([1.0, 0.0, 1.0, 0.0]) == 0.5
    assert sign_flip_test([1.0] * 100) == 1 / 20_001
    with pytest.raises(DataError, match="one row of numbers"):
        sign_flip_test([[1.0]])


def test_all_pairs_are_compared_and_corrected():
    models = {"weak": model(0, 0.2), "same": model(1, 0.2), "strong": model(2, 0.9)}
    found = {(d.model, d.other): d for d in paired_differences(models, draws=200)}
    assert list(found) == [("weak", "same"), ("weak", "strong"), ("same", "strong")]
    for (one, other), difference in found.items():
        value = np.mean(models[one][0]) - np.mean(models[other][0])
        assert difference.score.value == pytest.approx(value)
        assert difference.p_holm >= difference.p_value
    assert found["weak", "strong"].p_holm == pytest.approx(3 / 20_001)
    assert found["same", "strong"].score.high < 0
    assert found["weak", "same"].p_holm > 0.05


def test_models_without_two_prompts_in_common_are_left_out():
    none = [None] * 59 + [1.0]
    found = paired_differences({"a": model(0, 0.5), "b": model(1, 0.5), "c": (none, PROMPTS)}, draws=20)
    assert [(d.model, d.other) for d in found] == [("a", "b")]
    assert found[0].p_holm == found[0].p_value


def test_one_model_alone_has_no_differences():
    assert paired_differences({"a": model(0, 0.5)}) == []


# --- Holm's correction, against sums done by hand, and against statsmodels where it is installed


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
