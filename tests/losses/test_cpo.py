"""CPO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.cpo import CPO
from haloes.losses.dpo import DPO
from loss_batches import side_of
from pair_checks import Tokens, accuracies, assert_agrees, losses, pair, sigmoid, slopes

PAIR = pair(side_of([-1.0, -2.0], [0.0, 0.0]), side_of([-5.0, -8.0], [0.0, 0.0]))
"""log-probabilities -3 and -13 under the policy, 0 under the reference."""


def test_worked_example() -> None:
    # 0.1 * (-3 + 13) = 1, and 2 * 3 for the likelihood.
    assert losses(CPO(beta=0.1, alpha=2.0), [PAIR]) == pytest.approx([log(1 + exp(-1)) + 6], rel=1e-14)


def test_worked_gradient() -> None:
    slope = 0.1 / (1 + exp(1))

    found = slopes(CPO(beta=0.1, alpha=2.0), [PAIR])

    assert found == [(pytest.approx([-slope - 2] * 2), pytest.approx([slope] * 2))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "alpha"), [(0.1, 1.0), (1.5, 0.05)])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, alpha: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        better, worse = chosen["policy"].sum(), rejected["policy"].sum()
        return float(-np.log(sigmoid(beta * better - beta * worse)) - alpha * better)

    assert_agrees(CPO(beta=beta, alpha=alpha), oracle, seed=seed)


def test_without_the_likelihood_it_is_dpo_against_a_uniform_reference() -> None:
    # The reference gives both completions, of equal length, the same log-probability.
    assert losses(CPO(beta=0.2, alpha=0), [PAIR]) == losses(DPO(beta=0.2), [PAIR])


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_is_the_likelier() -> None:
    assert accuracies(CPO(), [PAIR, pair(PAIR.rejected, PAIR.completion)]) == [1, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"cpo: beta must be positive and finite, got {beta}"):
        CPO(beta=beta)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_alpha_must_not_be_negative(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"cpo: alpha must be at least 0 and finite, got {alpha}"):
        CPO(alpha=alpha)
