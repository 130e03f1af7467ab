"""BCO, against sums done by hand and against the paper's formula written out in NumPy."""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.bco import BCO
from haloes.losses.una import UNA
from loss_batches import Example, Numbers, evaluate, gradient, make_batch, make_examples, ratio_side
from loss_oracles import Oracle, Row, assert_agrees


def example(ratio: float, *, desirable: bool) -> Example:
    side = ratio_side(ratio)
    return Example(side, desirable, 0.0, side)


def formula(beta: float, running: float) -> Oracle:
    """-E+ log s(r - delta) - E- log s(-(r - delta)), with r and delta both in units of beta."""

    def losses(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        margin = np.array([(1 if row.desirable else -1) * beta * (row.ratio - running) for row in rows])
        return np.logaddexp(0, -margin)

    return losses


def test_worked_example() -> None:
    # beta * (12 - 2) = 1 for the desirable one, beta * (2 - -3) = 0.5 for the other; -log s(x) = log(1 + e^-x).
    output = evaluate(
        BCO(beta=0.1), [example(12.0, desirable=True), example(-3.0, desirable=False)], running_reward=2.0
    )

    assert output.per_example.tolist() == pytest.approx([log(1 + exp(-1)), log(1 + exp(-0.5))], rel=1e-12)
    assert output.metrics["accuracy"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("running", [-3.0, 0.0, 1.5])
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int, running: float) -> None:
    assert_agrees(BCO(beta=0.3), formula(0.3, running), seed=seed, running_reward=running)


def test_without_a_shift_it_is_una() -> None:
    examples = make_examples()

    torch.testing.assert_close(
        evaluate(BCO(beta=0.2), examples).per_example, evaluate(UNA(beta=0.2), examples).per_example
    )


def test_the_sum_over_a_pair_bounds_dpo_from_above_whatever_the_shift() -> None:
    # Theorem 1 and the reward shift: -log s(w - d) - log s(d - l) >= -log s(w - l).
    for chosen, rejected in [(3.0, -2.0), (-2.0, 3.0), (0.0, 0.0), (5.0, 4.0)]:
        for running in (-4.0, 0.0, 4.5):
            pair = [example(chosen, desirable=True), example(rejected, desirable=False)]
            bound = evaluate(BCO(beta=1.0), pair, running_reward=running).per_example.sum().item()

            assert bound >= log(1 + exp(rejected - chosen))


def test_no_gradient_flows_through_the_shift() -> None:
    batch = make_batch(make_examples(), BCO().needs, running_reward=1.0)
    running = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    object.__setattr__(batch, "running_reward", running)

    [slope] = gradient(BCO()(batch).per_example.sum(), [running])  # type: ignore[arg-type]

    assert slope.item() == 0.0


def test_without_the_mean_of_earlier_steps_there_is_no_shift() -> None:
    with pytest.raises(MissingInputError, match="mean reward of earlier steps"):
        BCO()(make_batch(make_examples(), Needs(reference=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"bco: beta must be positive and finite, got {beta}"):
        BCO(beta=beta)
