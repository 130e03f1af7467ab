"""ORPO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import log

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses.orpo import ORPO, log_odds
from loss_batches import Side, evaluate, gradient, side_of
from pair_checks import Tokens, accuracies, assert_agrees, assert_finite_at_extremes, losses, pair, sigmoid


def certain(logp: float, dtype: torch.dtype = torch.float64) -> Side:
    """A completion of one token with this log-probability."""
    return side_of([logp], [0.0], dtype=dtype)


def test_worked_example() -> None:
    # Token probabilities 3/4 and 1/2 have the odds 3 and 1: their ratio is 3, and sigmoid(log 3) = 3/4.
    found = losses(ORPO(weight=0.1), [pair(certain(log(0.75)), certain(log(0.5)))])

    assert found == pytest.approx([-log(0.75) - 0.1 * log(0.75)], rel=1e-14)


def test_probabilities_are_geometric_means_over_tokens() -> None:
    # The mean of log(1/2) and log(1/8) is log(1/4): the odds are 1/3 against 1, and sigmoid(log 1/3) = 1/4.
    chosen = side_of([log(0.5), log(0.125)], [0.0, 0.0])

    found = losses(ORPO(weight=1.0), [pair(chosen, certain(log(0.5)))])

    assert found == pytest.approx([-log(0.25) - log(0.25)], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weight", [0.1, 3.0])
def test_values_and_gradients_are_those_of_equations_6_and_7(weight: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        p_chosen, p_rejected = (np.exp(side["policy"].mean()) for side in (chosen, rejected))
        ratio = (p_chosen / (1 - p_chosen)) / (p_rejected / (1 - p_rejected))
        return float(-np.log(p_chosen) - weight * np.log(sigmoid(np.log(ratio))))

    assert_agrees(ORPO(weight=weight), oracle, seed=seed)


@pytest.mark.parametrize("logp", [-1e-12, -1e-6, -1e-3, -0.5, -1.0, -30.0, -700.0])
def test_log_odds_are_exact_at_both_ends(logp: float) -> None:
    found = log_odds(torch.tensor(logp, dtype=torch.float64)).item()

    # Near 0, 1 - e^x = -x - x^2/2 - x^3/6; further off the plain formula is exact.
    rest = -logp - logp**2 / 2 - logp**3 / 6 if logp > -1e-3 else 1 - np.exp(logp)
    assert found == pytest.approx(logp - np.log(rest), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_completion_that_is_certain_gives_finite_numbers(dtype: torch.dtype) -> None:
    examples = [
        pair(certain(a, dtype), certain(b, dtype)) for a in (0.0, -1e-9, -1.0, -1e3) for b in (0.0, -1e-9, -1.0, -1e3)
    ]
    output = evaluate(ORPO(weight=1.0), examples)

    assert bool(output.per_example.isfinite().all())
    sides = [side.policy for example in examples for side in (example.completion, example.rejected)]
    assert all(bool(found.isfinite().all()) for found in gradient(output.per_example.sum(), sides))
    assert_finite_at_extremes(ORPO())


def test_equally_likely_completions_cost_log_two_besides_the_likelihood() -> None:
    found = losses(ORPO(weight=0.5), [pair(certain(-2.0), certain(-2.0))])

    assert found == pytest.approx([2 + 0.5 * log(2)])


def test_accuracy_is_the_share_of_pairs_whose_chosen_tokens_are_the_likelier_on_average() -> None:
    long = side_of([-1.0, -1.0, -1.0], [0.0] * 3)

    assert accuracies(ORPO(), [pair(long, certain(-2.0)), pair(certain(-2.0), long), pair(long, long)]) == [1, 0, 0]


@pytest.mark.parametrize("weight", [0, -0.1, float("nan"), float("inf")])
def test_the_weight_must_be_positive(weight: float) -> None:
    with pytest.raises(ConfigError, match=f"orpo: weight must be positive and finite, got {weight}"):
        ORPO(weight=weight)
