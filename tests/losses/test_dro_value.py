"""DRO-V, against sums done by hand and against the paper's formula and gradients written out in NumPy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.dro_value import DROValue
from loss_batches import Example, Numbers, evaluate, gradient, make_batch, make_examples, side_of
from loss_oracles import Row, assert_agrees


def example(policy: list[float], values: list[float], score: float) -> Example:
    side = side_of(policy, [-1.0] * len(policy))
    side = replace(side, value=torch.tensor(values, dtype=torch.float64, requires_grad=True))
    return Example(side, True, score, side)


def formula(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
    """1/2 (s - V(x) - tau r)^2 with tau = 0.7; V(x) is the estimate before the first token."""
    return np.array([(row.score - row.value[0] - 0.7 * row.ratio) ** 2 / 2 for row in rows])


def test_worked_example() -> None:
    # r = 2, V = 0.5, not the 9 of later tokens: 1/2 (4 - 0.5 - 0.5 * 2)^2 = 3.125.
    output = evaluate(DROValue(tau=0.5), [example([-0.5, 0.5], [0.5, 9.0], 4.0)])

    assert output.per_example.tolist() == pytest.approx([3.125], rel=1e-12)
    assert output.metrics["prompt_value"].tolist() == [0.5]


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int) -> None:
    assert_agrees(DROValue(tau=0.7), formula, seed=seed, moved=("policy", "value"))


def test_gradients_are_those_of_the_papers_algorithm() -> None:
    # By the head: V - s + tau r. By the policy: -tau ((s - V) - tau r). Here V = 0.5, r = 2, s = 4, tau = 0.5.
    one = example([-0.5, 0.5], [0.5, 9.0], 4.0)

    to_policy, to_head = gradient(
        evaluate(DROValue(tau=0.5), [one]).per_example.sum(), [one.completion.policy, one.completion.value]
    )

    assert to_policy.tolist() == pytest.approx([-1.25, -1.25], rel=1e-12)
    assert to_head.tolist() == pytest.approx([-2.5, 0.0], rel=1e-12)


def test_without_a_value_head_it_does_not_run() -> None:
    with pytest.raises(MissingInputError, match="value head"):
        DROValue()(make_batch(make_examples(), Needs(reference=True, scores=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("tau", [0, -0.1, float("nan"), float("inf")])
def test_tau_must_be_positive(tau: float) -> None:
    with pytest.raises(ConfigError, match=f"dro_value: tau must be positive and finite, got {tau}"):
        DROValue(tau=tau)
