"""cDPO, against sums done by hand and against the note's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.cdpo import CDPO
from haloes.losses.dpo import DPO
from pair_checks import Tokens, accuracies, assert_agrees, log_ratio, losses, ragged_pairs, ratio_pairs, sigmoid, slopes


def test_worked_example() -> None:
    # The margin is 0.1 * (12 - 2) = 1: 0.8 * log(1 + e^-1) + 0.2 * log(1 + e).
    expected = 0.8 * log(1 + exp(-1)) + 0.2 * log(1 + exp(1))

    assert losses(CDPO(beta=0.1, label_smoothing=0.2), ratio_pairs([(12, 2)])) == pytest.approx([expected], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "flipped"), [(0.1, 0.1), (2.0, 0.4)])
def test_values_and_gradients_are_those_of_equation_3(beta: float, flipped: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = beta * log_ratio(chosen) - beta * log_ratio(rejected)
        return -(1 - flipped) * np.log(sigmoid(margin)) - flipped * np.log(sigmoid(-margin))

    assert_agrees(CDPO(beta=beta, label_smoothing=flipped), oracle, seed=seed)


def test_without_smoothing_it_is_dpo() -> None:
    pairs = ragged_pairs(3)

    assert losses(CDPO(beta=0.3, label_smoothing=0), pairs) == losses(DPO(beta=0.3), pairs)


def test_the_gradient_vanishes_where_the_implied_preference_is_as_sure_as_the_label() -> None:
    # sigmoid(margin) = 0.9 at margin = log 9, that is at D = log 9 / 0.1.
    [(to_chosen, to_rejected)] = slopes(CDPO(beta=0.1, label_smoothing=0.1), ratio_pairs([(10 * log(9), 0)]))

    assert to_chosen + to_rejected == pytest.approx([0, 0], abs=1e-15)


def test_a_flipped_pair_weighs_the_smoothing_as_much_as_a_true_one_weighs_the_rest() -> None:
    loss = CDPO(beta=1.0, label_smoothing=0.25)
    straight, turned = losses(loss, ratio_pairs([(2, 1), (1, 2)]))

    # The sum over a pair and its mirror image does not depend on the smoothing.
    assert straight + turned == pytest.approx(log(1 + exp(-1)) + log(1 + exp(1)))


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(CDPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"cdpo: beta must be positive and finite, got {beta}"):
        CDPO(beta=beta)


@pytest.mark.parametrize("flipped", [-0.1, 0.5, 1, float("nan")])
def test_less_than_half_of_the_labels_may_be_flipped(flipped: float) -> None:
    with pytest.raises(ConfigError, match=f"cdpo: label_smoothing must be at least 0 and below 0.5, got {flipped}"):
        CDPO(label_smoothing=flipped)
