"""The paper's rule for class weights, against sums done by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import ConfigError
from haloes.feedback.weights import ClassWeights, class_weights, is_in_paper_range, ratio

counts = st.integers(0, 10**9) | st.floats(1e-3, 1e9)


@pytest.mark.parametrize("num_desirable", [100, 120, 150])
def test_inside_the_interval_nothing_is_weighted(num_desirable: int) -> None:
    assert class_weights(num_desirable, 100) == ClassWeights(desirable=1.0, undesirable=1.0)


def test_few_desirable_examples_are_weighted_up_to_a_ratio_of_one() -> None:
    # 10 * 10 / (1 * 100) = 1: the paper's "1:10 -> desirable weight 10".
    assert class_weights(10, 100) == ClassWeights(desirable=10.0, undesirable=1.0)


def test_few_undesirable_examples_are_weighted_up_to_a_ratio_of_three_halves() -> None:
    # 1 * 300 / (2 * 100) = 3/2.
    assert class_weights(300, 100) == ClassWeights(desirable=1.0, undesirable=2.0)


@pytest.mark.parametrize(("num_desirable", "num_undesirable"), [(5, 0), (0, 5), (0, 0)])
def test_one_label_only_has_nothing_to_balance(num_desirable: int, num_undesirable: int) -> None:
    assert class_weights(num_desirable, num_undesirable) == ClassWeights()
    assert ratio(num_desirable, num_undesirable) is None


def test_the_ratio_is_that_of_the_paper() -> None:
    assert ratio(30, 20) == 1.5
    assert ratio(30, 20, ClassWeights(desirable=2.0, undesirable=4.0)) == 0.75
    assert ratio(30, 20, ClassWeights(undesirable=0.0)) is None


def test_the_interval_holds_its_ends() -> None:
    assert is_in_paper_range(1.0)
    assert is_in_paper_range(1.5)
    assert not is_in_paper_range(0.999)
    assert not is_in_paper_range(1.501)


@pytest.mark.parametrize("count", [-1, float("nan"), float("inf")])
def test_a_count_that_is_none_is_refused(count: float) -> None:
    with pytest.raises(ConfigError, match="desirable examples must be 0 or more"):
        class_weights(count, 1)
    with pytest.raises(ConfigError, match="undesirable examples must be 0 or more"):
        ratio(1, count)


@given(counts, counts)
def test_weights_lead_into_the_interval_and_one_of_them_is_one(num_desirable: float, num_undesirable: float) -> None:
    weights = class_weights(num_desirable, num_undesirable)
    weighted = ratio(num_desirable, num_undesirable, weights)

    assert 1.0 in (weights.desirable, weights.undesirable)
    assert min(weights.desirable, weights.undesirable) >= 1.0 or num_undesirable == 0
    assert weighted is None or is_in_paper_range(weighted)
