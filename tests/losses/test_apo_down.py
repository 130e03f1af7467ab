"""APO-down, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp

import pytest

from haloes.errors import ConfigError
from haloes.losses.apo_down import APODown
from pair_checks import (
    Tokens,
    accuracies,
    assert_agrees,
    assert_finite_at_extremes,
    log_ratio,
    losses,
    ratio_pairs,
    slopes,
)
from pair_checks import sigmoid as s


def test_worked_example() -> None:
    # Rewards 0.1 * 10 = 1 and 0.1 * -20 = -2: sigmoid(1) + 1 - sigmoid(3).
    expected = 1 / (1 + exp(-1)) + 1 - 1 / (1 + exp(-3))

    assert losses(APODown(beta=0.1), ratio_pairs([(10, -20)])) == pytest.approx([expected], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_values_and_gradients_are_those_of_equation_8(beta: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        return s(beta * log_ratio(chosen)) + 1 - s(beta * (log_ratio(chosen) - log_ratio(rejected)))

    assert_agrees(APODown(beta=beta), oracle, seed=seed)


def test_the_first_step_costs_one_and_lowers_only_the_rejected_completion() -> None:
    # At 0 the two slopes of the chosen completion, beta/4 each, cancel.
    assert losses(APODown(beta=0.4), ratio_pairs([(0, 0)])) == pytest.approx([1])
    assert slopes(APODown(beta=0.4), ratio_pairs([(0, 0)])) == [(pytest.approx([0], abs=1e-16), pytest.approx([0.1]))]


def test_once_the_pair_is_apart_both_completions_are_lowered() -> None:
    [(to_chosen, to_rejected)] = slopes(APODown(beta=1.0), ratio_pairs([(0, -3)]))

    assert to_chosen[0] > to_rejected[0] > 0


def test_it_lies_between_0_and_2_everywhere() -> None:
    found = losses(APODown(beta=1.0), ratio_pairs([(1000, 1000), (-1000, -2000), (1000, 2000)]))

    assert found == pytest.approx([1.5, 0, 2])
    assert_finite_at_extremes(APODown())


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(APODown(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"apo_down: beta must be positive and finite, got {beta}"):
        APODown(beta=beta)
