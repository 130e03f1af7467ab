"""UNA on scores, against sums done by hand and against the authors' formula written out in NumPy."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.una_score import UNAScore
from loss_batches import Example, Numbers, evaluate, gradient, make_batch, make_examples, ratio_side
from loss_oracles import Row, assert_agrees


def squared_error(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
    return np.array([(1 / (1 + np.exp(-0.4 * row.ratio)) - row.score) ** 2 for row in rows])


def test_worked_example() -> None:
    # beta r = log 3 makes the sigmoid 3/4; (3/4 - 1/4)^2 = 1/4. The label does not matter.
    side = ratio_side(2 * log(3))

    output = evaluate(UNAScore(beta=0.5), [Example(side, True, 0.25, side), Example(side, False, 0.25, side)])

    assert output.per_example.tolist() == pytest.approx([0.25, 0.25], rel=1e-12)
    assert output.metrics["implied_score"].tolist() == pytest.approx([0.75, 0.75], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_authors_formula(seed: int) -> None:
    assert_agrees(UNAScore(beta=0.4), squared_error, seed=seed)


def test_it_rests_where_the_implied_score_is_the_humans() -> None:
    side = ratio_side(log(4))  # the sigmoid of log 4 is 4/5

    output = evaluate(UNAScore(beta=1.0), [Example(side, True, 0.8, side)])
    [slope] = gradient(output.per_example.sum(), [side.policy])

    assert output.per_example.item() == pytest.approx(0.0, abs=1e-30)
    assert slope.item() == pytest.approx(0.0, abs=1e-15)


def test_without_scores_there_is_nothing_to_fit() -> None:
    with pytest.raises(MissingInputError, match="scores"):
        UNAScore()(make_batch(make_examples(), Needs(reference=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"una_score: beta must be positive and finite, got {beta}"):
        UNAScore(beta=beta)
