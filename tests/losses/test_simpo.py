"""SimPO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.simpo import SimPO
from loss_batches import side_of
from pair_checks import Tokens, accuracies, assert_agrees, losses, pair, sigmoid, slopes

PAIR = pair(side_of([-1.0, -2.0], [0.0, 0.0]), side_of([-3.0, -2.0, -4.0, -1.0], [0.0] * 4))
"""Means of log-probabilities -1.5 and -2.5."""


def test_worked_example() -> None:
    # 2 * (-1.5 + 2.5) - 0.5 = 1.5.
    assert losses(SimPO(beta=2.0, gamma=0.5), [PAIR]) == pytest.approx([log(1 + exp(-1.5))], rel=1e-14)


def test_worked_gradient() -> None:
    # -2 / (1 + e^1.5) a unit of the mean, shared by two chosen tokens, and against four rejected ones.
    slope = 2 / (1 + exp(1.5))

    found = slopes(SimPO(beta=2.0, gamma=0.5), [PAIR])

    assert found == [(pytest.approx([-slope / 2] * 2), pytest.approx([slope / 4] * 4))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 0.5), (10.0, 3.0)])
def test_values_and_gradients_are_those_of_equation_6(beta: float, gamma: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        reward = [beta / len(side["policy"]) * side["policy"].sum() for side in (chosen, rejected)]
        return float(-np.log(sigmoid(reward[0] - reward[1] - gamma)))

    assert_agrees(SimPO(beta=beta, gamma=gamma), oracle, seed=seed)


def test_a_completion_written_twice_over_costs_the_same() -> None:
    double = pair(side_of([-1.0, -2.0] * 2, [0.0] * 4), PAIR.rejected)

    assert losses(SimPO(), [double]) == losses(SimPO(), [PAIR])


def test_a_pair_exactly_gamma_apart_costs_log_two() -> None:
    assert losses(SimPO(beta=2.0, gamma=2.0), [PAIR]) == pytest.approx([log(2)])


def test_accuracy_does_not_ask_for_the_margin() -> None:
    turned = pair(PAIR.rejected, PAIR.completion)

    assert accuracies(SimPO(gamma=100.0), [PAIR, turned]) == [1, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"simpo: beta must be positive and finite, got {beta}"):
        SimPO(beta=beta)


@pytest.mark.parametrize("gamma", [-0.1, float("nan"), float("inf")])
def test_gamma_must_not_be_negative(gamma: float) -> None:
    with pytest.raises(ConfigError, match=f"simpo: gamma must be at least 0 and finite, got {gamma}"):
        SimPO(gamma=gamma)
