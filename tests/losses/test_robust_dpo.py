"""Robust DPO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.dpo import DPO
from haloes.losses.robust_dpo import RobustDPO
from pair_checks import (
    Tokens,
    accuracies,
    assert_agrees,
    assert_finite_at_extremes,
    log_ratio,
    losses,
    pair,
    ragged_pairs,
    ratio_pairs,
    sigmoid,
)


def test_worked_example() -> None:
    # The margin is 0.1 * (12 - 2) = 1: (0.8 * log(1 + e^-1) - 0.2 * log(1 + e)) / 0.6.
    expected = (0.8 * log(1 + exp(-1)) - 0.2 * log(1 + exp(1))) / 0.6

    found = losses(RobustDPO(beta=0.1, label_smoothing=0.2), ratio_pairs([(12, 2)]))

    assert found == pytest.approx([expected], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "flipped"), [(0.1, 0.1), (2.0, 0.4)])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, flipped: float, seed: int) -> None:
    def plain(margin: float) -> float:
        return float(-np.log(sigmoid(margin)))

    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = beta * log_ratio(chosen) - beta * log_ratio(rejected)
        return ((1 - flipped) * plain(margin) - flipped * plain(-margin)) / (1 - 2 * flipped)

    assert_agrees(RobustDPO(beta=beta, label_smoothing=flipped), oracle, seed=seed)


@pytest.mark.parametrize("flipped", [0.1, 0.3, 0.45])
def test_its_mean_over_random_flips_is_dpo_on_the_true_preferences(flipped: float) -> None:
    # What the paper builds it for: E[robust(noisy)] = (1 - e) robust(pair) + e robust(turned) = dpo(pair).
    pairs = ragged_pairs(4)
    turned = [pair(example.rejected, example.completion) for example in pairs]
    loss = RobustDPO(beta=0.5, label_smoothing=flipped)

    both = zip(losses(loss, pairs), losses(loss, turned), strict=True)

    mean = [(1 - flipped) * kept + flipped * wrong for kept, wrong in both]
    assert mean == pytest.approx(losses(DPO(beta=0.5), pairs))


def test_without_flips_it_is_dpo() -> None:
    pairs = ragged_pairs(3)

    assert losses(RobustDPO(beta=0.3, label_smoothing=0), pairs) == losses(DPO(beta=0.3), pairs)


def test_it_is_not_bounded_below_but_finite() -> None:
    # For a large margin m the loss tends to -e m / (1 - 2 e): -0.1 * 100 / 0.8 at D = 1000.
    assert losses(RobustDPO(), ratio_pairs([(1000, 0)])) == pytest.approx([-12.5])
    assert_finite_at_extremes(RobustDPO())


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(RobustDPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"robust_dpo: beta must be positive and finite, got {beta}"):
        RobustDPO(beta=beta)


@pytest.mark.parametrize("flipped", [-0.1, 0.5, 1, float("nan")])
def test_less_than_half_of_the_labels_may_be_flipped(flipped: float) -> None:
    with pytest.raises(ConfigError, match=f"label_smoothing must be at least 0 and below 0.5, got {flipped}"):
        RobustDPO(label_smoothing=flipped)
