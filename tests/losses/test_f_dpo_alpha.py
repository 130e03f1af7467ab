"""f-DPO with an alpha-divergence, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.dpo import DPO
from haloes.losses.f_dpo_alpha import AlphaDivergenceDPO
from haloes.losses.f_dpo_forward_kl import ForwardKLDPO
from pair_checks import (
    Tokens,
    accuracies,
    assert_agrees,
    assert_finite_at_extremes,
    log_ratio,
    losses,
    ragged_pairs,
    ratio_pairs,
)


def test_worked_example() -> None:
    # alpha 1/2, u = 4 and 1/4: (1 - 1/2) * 2 = 1 and (1 - 2) * 2 = -2.
    found = losses(AlphaDivergenceDPO(beta=0.5, alpha=0.5), ratio_pairs([(log(4), -log(4))]))

    assert found == pytest.approx([log(1 + exp(-1.5))], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "alpha"), [(0.1, 0.5), (1.0, 0.2), (0.3, 0.9)])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, alpha: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        rewards = [(1 - np.exp(log_ratio(side)) ** -alpha) / alpha for side in (chosen, rejected)]
        return float(np.logaddexp(0, -beta * (rewards[0] - rewards[1])))

    assert_agrees(AlphaDivergenceDPO(beta=beta, alpha=alpha), oracle, seed=seed)


def test_alpha_towards_0_is_dpo() -> None:
    pairs = ragged_pairs(3)

    found = losses(AlphaDivergenceDPO(beta=0.3, alpha=1e-9), pairs)

    assert found == pytest.approx(losses(DPO(beta=0.3), pairs), rel=1e-7)


def test_alpha_towards_1_is_forward_kl() -> None:
    pairs = ragged_pairs(3)

    found = losses(AlphaDivergenceDPO(beta=0.3, alpha=1 - 1e-9), pairs)

    assert found == pytest.approx(losses(ForwardKLDPO(beta=0.3), pairs), rel=1e-7)


@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.99])
def test_extreme_log_ratios_give_finite_numbers(alpha: float) -> None:
    assert_finite_at_extremes(AlphaDivergenceDPO(alpha=alpha))


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(AlphaDivergenceDPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"f_dpo_alpha: beta must be positive and finite, got {beta}"):
        AlphaDivergenceDPO(beta=beta)


@pytest.mark.parametrize("alpha", [0, 1, -0.5, 1.5, float("nan")])
def test_alpha_lies_between_the_two_kl_divergences(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"f_dpo_alpha: alpha must be between 0 and 1, both excluded, got {alpha}"):
        AlphaDivergenceDPO(alpha=alpha)
