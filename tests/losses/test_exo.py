"""EXO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import log

import numpy as np
import pytest
from scipy.special import rel_entr

from haloes.errors import ConfigError
from haloes.losses.exo import EXO
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
    # sigmoid(0.1 * (10 log 3)) = 3/4 against 1 - 1/4: no divergence. And 1/2 against it: 1/2 log(2/3) + 1/2 log 2.
    found = losses(EXO(beta=0.1, label_smoothing=0.25), ratio_pairs([(10 * log(3), 0), (7, 7)]))

    assert found == pytest.approx([0, 0.5 * log(2 / 3) + 0.5 * log(2)], abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.001), (1.0, 0.3)])
def test_values_and_gradients_are_those_of_the_divergence_of_equation_16(
    beta: float, smoothing: float, seed: int
) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        rewards = beta * np.array([log_ratio(chosen), log_ratio(rejected)])
        implied = np.exp(rewards) / np.exp(rewards).sum()
        return float(rel_entr(implied, [1 - smoothing, smoothing]).sum())

    assert_agrees(EXO(beta=beta, label_smoothing=smoothing), oracle, seed=seed)


def test_it_is_never_negative_and_least_where_the_implied_preference_is_the_label() -> None:
    loss = EXO(beta=1.0, label_smoothing=0.1)
    found = losses(loss, ratio_pairs([(margin, 0) for margin in (-5, 0, log(9), 5, 50)]))

    assert min(found) == found[2] == pytest.approx(0, abs=1e-15)
    assert slopes(loss, ratio_pairs([(log(9), 0)])) == [(pytest.approx([0], abs=1e-15), pytest.approx([0], abs=1e-15))]


def test_the_gradient_vanishes_for_a_pair_that_the_policy_ranks_utterly_wrong() -> None:
    # Unlike DPO's, which approaches beta.
    [(to_chosen, to_rejected)] = slopes(EXO(beta=0.1), ratio_pairs([(-1000, 1000)]))

    assert to_chosen + to_rejected == pytest.approx([0, 0], abs=1e-80)
    assert losses(EXO(beta=0.1), ratio_pairs([(-1000, 1000)])) == pytest.approx([-log(0.001)])
    assert_finite_at_extremes(EXO())


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(EXO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"exo: beta must be positive and finite, got {beta}"):
        EXO(beta=beta)


@pytest.mark.parametrize("smoothing", [-0.1, 0, 0.5, float("nan")])
def test_the_rejected_completion_keeps_some_probability_and_less_than_half(smoothing: float) -> None:
    with pytest.raises(ConfigError, match=f"label_smoothing must be above 0 and below 0.5, got {smoothing}"):
        EXO(label_smoothing=smoothing)
