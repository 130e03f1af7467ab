"""UNA on labels, against sums done by hand and against the authors' formula written out in NumPy."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.una import UNA
from loss_batches import Example, Numbers, evaluate, ratio_side
from loss_oracles import Row, assert_agrees


def example(ratio: float, *, desirable: bool) -> Example:
    side = ratio_side(ratio)
    return Example(side, desirable, 0.0, side)


def cross_entropy(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
    """-[y log s + (1 - y) log(1 - s)], s = sigmoid(0.4 r)."""
    s = np.array([1 / (1 + np.exp(-0.4 * row.ratio)) for row in rows])
    y = np.array([float(row.desirable) for row in rows])
    return -(y * np.log(s) + (1 - y) * np.log(1 - s))


def test_worked_example() -> None:
    # beta r = log 3 makes the sigmoid 3/4: log 4/3 for the desirable completion, log 4 for the undesirable one.
    ratio = 2 * log(3)

    output = evaluate(UNA(beta=0.5), [example(ratio, desirable=True), example(ratio, desirable=False)])

    assert output.per_example.tolist() == pytest.approx([log(4 / 3), log(4)], rel=1e-12)
    assert output.metrics["accuracy"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_binary_cross_entropy(seed: int) -> None:
    assert_agrees(UNA(beta=0.4), cross_entropy, seed=seed)


def test_the_first_step_costs_log_two() -> None:
    output = evaluate(UNA(), [example(0.0, desirable=True), example(0.0, desirable=False)])

    assert output.per_example.tolist() == pytest.approx([log(2), log(2)], rel=1e-15)


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"una: beta must be positive and finite, got {beta}"):
        UNA(beta=beta)
