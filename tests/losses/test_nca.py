"""NCA, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.nca import NCA
from pair_checks import Tokens, accuracies, assert_agrees, log_ratio, losses, ratio_pairs, sigmoid, slopes


def test_worked_example() -> None:
    # Rewards 0.1 * 10 = 1 and 0.1 * -20 = -2.
    expected = log(1 + exp(-1)) + log(1 + exp(1)) / 2 + log(1 + exp(-2)) / 2

    assert losses(NCA(beta=0.1), ratio_pairs([(10, -20)])) == pytest.approx([expected], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.01, 1.0])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        rewards = [beta * log_ratio(chosen), beta * log_ratio(rejected)]
        return float(-np.log(sigmoid(rewards[0])) - sum(np.log(sigmoid(-reward)) for reward in rewards) / 2)

    assert_agrees(NCA(beta=beta), oracle, seed=seed)


def test_the_first_step_costs_twice_log_two() -> None:
    assert losses(NCA(), ratio_pairs([(0, 0)])) == pytest.approx([2 * log(2)])


def test_the_chosen_reward_is_driven_to_log_two_whatever_the_other_does() -> None:
    # -log s(a) - 1/2 log s(-a) has the slope s(a)/2 - s(-a), which is zero at s(a) = 2/3.
    found = slopes(NCA(beta=0.1), ratio_pairs([(10 * log(2), other) for other in (-50, 0, 50)]))

    assert [to_chosen for to_chosen, _ in found] == [pytest.approx([0], abs=1e-16)] * 3


def test_the_gradient_of_one_completion_does_not_depend_on_the_other() -> None:
    first, second = slopes(NCA(beta=0.1), ratio_pairs([(3, -4), (3, 40)]))

    assert first[0] == second[0]


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(NCA(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"nca: beta must be positive and finite, got {beta}"):
        NCA(beta=beta)
