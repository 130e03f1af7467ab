"""Paired differences of several models: tests against scipy's permutation test, and the correction."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from haloes.errors import DataError
from haloes.stats.paired import paired_differences, sign_flip_test

PROMPTS = list(range(60))


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
