"""DiscoPOP, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.discopop import DiscoPOP
from haloes.losses.dpo import DPO
from pair_checks import (
    Tokens,
    accuracies,
    assert_agrees,
    assert_finite_at_extremes,
    log_ratio,
    losses,
    ratio_pairs,
    sigmoid,
    slopes,
)


def test_worked_example() -> None:
    # The margin is 0.1 * 10 = 1 and tau 1/2: m = sigmoid(2).
    m = 1 / (1 + exp(-2))
    expected = (1 - m) * log(1 + exp(-1)) + m * exp(-1)

    assert losses(DiscoPOP(beta=0.1, tau=0.5), ratio_pairs([(12, 2)])) == pytest.approx([expected], rel=1e-14)


def test_the_first_step_costs_half_of_log_two_and_half_of_one() -> None:
    assert losses(DiscoPOP(), ratio_pairs([(0, 0)])) == pytest.approx([(log(2) + 1) / 2])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "tau"), [(0.05, 0.05), (1.0, 1.0)])
def test_values_and_gradients_are_those_of_equation_5(beta: float, tau: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = beta * (log_ratio(chosen) - log_ratio(rejected))
        modulation = sigmoid(margin / tau)
        return float(-(1 - modulation) * np.log(sigmoid(margin)) + modulation * np.exp(-margin))

    assert_agrees(DiscoPOP(beta=beta, tau=tau), oracle, seed=seed)


def test_it_is_dpo_on_pairs_ranked_wrong_and_exponential_on_pairs_ranked_right() -> None:
    wrong, right = losses(DiscoPOP(beta=1.0, tau=0.01), ratio_pairs([(0, 2), (2, 0)]))

    assert wrong == pytest.approx(losses(DPO(beta=1.0), ratio_pairs([(0, 2)]))[0], rel=1e-14)
    assert right == pytest.approx(exp(-2), rel=1e-14)


def test_it_falls_where_a_pair_goes_from_undecided_to_ranked_slightly_wrong() -> None:
    undecided, wrong = losses(DiscoPOP(), ratio_pairs([(0, 0), (0, 4)]))

    assert wrong < undecided


@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_a_pair_ranked_utterly_wrong_costs_what_it_costs_in_dpo(tau: float) -> None:
    assert_finite_at_extremes(DiscoPOP(beta=1.0, tau=tau))
    found = losses(DiscoPOP(beta=1.0, tau=0.05), ratio_pairs([(-1000, 1000)]))
    assert found == pytest.approx([2000])
    assert slopes(DiscoPOP(beta=1.0, tau=0.05), ratio_pairs([(-1000, 1000)])) == [([-1.0], [1.0])]


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(DiscoPOP(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"discopop: beta must be positive and finite, got {beta}"):
        DiscoPOP(beta=beta)


@pytest.mark.parametrize("tau", [0, -0.1, 1.01, float("nan")])
def test_tau_must_lie_between_0_and_1(tau: float) -> None:
    with pytest.raises(ConfigError, match=f"discopop: tau must be above 0 and at most 1, got {tau}"):
        DiscoPOP(tau=tau)
