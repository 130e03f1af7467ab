"""Unlikelihood, against sums done by hand and against the paper's formula written out in NumPy."""

from collections.abc import Sequence
from math import exp, expm1, log, log1p

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses.unlikelihood import Unlikelihood
from loss_batches import Example, Numbers, evaluate, gradient, side_of
from loss_oracles import Oracle, Row, assert_agrees


def example(policy: list[float], *, desirable: bool, dtype: torch.dtype = torch.float64) -> Example:
    side = side_of(policy, [-1.0] * len(policy), dtype=dtype)
    return Example(side, desirable, 0.0, side)


def formula(alpha: float) -> Oracle:
    """Eq. 5: -sum log p for the wanted, -sum log(1 - p) over negative candidates."""

    def losses(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        return np.array(
            [
                -row.policy.sum() if row.desirable else -alpha * np.log(1 - np.exp(row.policy)).sum()  # by the letter
                for row in rows
            ]
        )

    return losses


def test_worked_example() -> None:
    # p is 1/2 and 1/4. Desirable: log 2 + log 4. Undesirable: -log 1/2 - log 3/4.
    tokens = [log(1 / 2), log(1 / 4)]

    found = evaluate(Unlikelihood(), [example(tokens, desirable=True), example(tokens, desirable=False)])

    assert found.per_example.tolist() == pytest.approx([log(8), log(2) + log(4 / 3)], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int) -> None:
    assert_agrees(Unlikelihood(alpha=0.7), formula(0.7), seed=seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logp", [-1e-3, -1e-5, -0.6931, -0.6932, -3.0, -15.0])
def test_it_is_exact_to_the_precision_of_its_numbers_for_likely_and_unlikely_tokens(
    dtype: torch.dtype, logp: float
) -> None:
    one = example([logp], desirable=False, dtype=dtype)
    exact = one.completion.policy.double().item()  # the log-probability as this dtype rounds it
    # -log(1 - p) and its derivative p / (1 - p), with 1 - p = -expm1(log p).
    value = -log(-expm1(exact)) if exact > -1 else -log1p(-exp(exact))
    slope = exp(exact) / -expm1(exact)

    output = evaluate(Unlikelihood(), [one])
    [found] = gradient(output.per_example.sum(), [one.completion.policy])

    tolerance = 8 * torch.finfo(dtype).eps
    assert output.per_example.item() == pytest.approx(value, rel=tolerance)
    assert found.item() == pytest.approx(slope, rel=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logp", [0.0, -1e-30, -1e-12, -1000.0])
def test_certain_and_impossible_tokens_stay_finite(dtype: torch.dtype, logp: float) -> None:
    one = example([logp], desirable=False, dtype=dtype)
    output = evaluate(Unlikelihood(), [one])
    [slope] = gradient(output.per_example.sum(), [one.completion.policy])

    assert output.per_example.isfinite().all()
    assert slope.isfinite().all()


def test_unlikely_tokens_are_left_in_peace() -> None:
    # The derivative by log p is p / (1 - p).
    one = example([-20.0], desirable=False)

    [slope] = gradient(evaluate(Unlikelihood(), [one]).per_example.sum(), [one.completion.policy])

    assert slope.item() == pytest.approx(exp(-20), rel=1e-6)


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_positive(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"unlikelihood: alpha must be positive and finite, got {alpha}"):
        Unlikelihood(alpha=alpha)
