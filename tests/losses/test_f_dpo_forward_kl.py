"""f-DPO with forward KL, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.f_dpo_forward_kl import ForwardKLDPO
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


def test_worked_example() -> None:
    # u = 2 and 1/4: -1/u is -1/2 and -4, and their difference 3.5.
    found = losses(ForwardKLDPO(beta=0.2), ratio_pairs([(log(2), -log(4))]))

    assert found == pytest.approx([log(1 + exp(-0.7))], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        rewards = [-1 / np.exp(log_ratio(side)) for side in (chosen, rejected)]
        return float(np.logaddexp(0, -beta * (rewards[0] - rewards[1])))

    assert_agrees(ForwardKLDPO(beta=beta), oracle, seed=seed, spread=0.5)


def test_at_the_reference_its_gradient_is_dpos() -> None:
    # f'' of every f with f''(1) = 1 makes u f''(u) = 1 at u = 1: beta / 2, as in DPO.
    assert losses(ForwardKLDPO(beta=0.2), ratio_pairs([(0, 0)])) == pytest.approx([log(2)])
    assert slopes(ForwardKLDPO(beta=0.2), ratio_pairs([(0, 0)])) == [(pytest.approx([-0.1]), pytest.approx([0.1]))]


def test_a_completion_that_the_policy_has_given_up_gives_large_but_finite_numbers() -> None:
    # Past 30 nats the exponential goes on as its tangent: e^30 (1 + 1000 - 30), of which beta = 0.1.
    found = losses(ForwardKLDPO(beta=0.1), ratio_pairs([(-1000, 0)]))

    assert found == pytest.approx([0.1 * exp(30) * 971], rel=1e-9)
    assert_finite_at_extremes(ForwardKLDPO(beta=2.0))


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(ForwardKLDPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"f_dpo_forward_kl: beta must be positive and finite, got {beta}"):
        ForwardKLDPO(beta=beta)
