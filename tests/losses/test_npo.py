"""NPO, against sums done by hand and against the paper's formula written out in NumPy."""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.npo import NPO
from loss_batches import Example, Numbers, evaluate, gradient, ratio_side, side_of
from loss_oracles import Oracle, Row, assert_agrees


def formula(beta: float, retain: float) -> Oracle:
    """(2 / beta) log(1 + (p_policy / p_reference)^beta) for what is to be forgotten, likelihood for the rest."""

    def losses(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        forget = np.array([2 / beta * np.log(1 + np.exp(row.ratio) ** beta) for row in rows])
        return np.where([row.desirable for row in rows], [-retain * row.policy.sum() for row in rows], forget)

    return losses


def test_worked_example() -> None:
    # Undesirable, beta = 0.5, r = log 9: (2 / 0.5) log(1 + 3) = 4 log 4. Desirable: half of 0.5 + 1.5.
    bad, good = ratio_side(log(9)), side_of([-0.5, -1.5], [-1.0, -1.0])

    output = evaluate(NPO(beta=0.5, retain_weight=0.5), [Example(bad, False, 0.0, bad), Example(good, True, 0.0, good)])

    assert output.per_example.tolist() == pytest.approx([4 * log(4), 1.0], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("beta", "retain"), [(0.1, 1.0), (1.3, 0.4), (0.5, 0.0)])
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int, beta: float, retain: float) -> None:
    assert_agrees(NPO(beta=beta, retain_weight=retain), formula(beta, retain), seed=seed)


def test_as_beta_vanishes_it_is_likelihood_turned_around() -> None:
    # The derivative by r is 2 sigmoid(beta r), which goes to 1 wherever r is.
    for ratio in (-3.0, 5.0):
        side = ratio_side(ratio)

        output = evaluate(NPO(beta=1e-6), [Example(side, False, 0.0, side)])
        [slope] = gradient(output.per_example.sum(), [side.policy])

        assert slope.item() == pytest.approx(1.0, abs=1e-5)


def test_what_has_been_unlearned_is_left_alone() -> None:
    side = ratio_side(-100.0)

    output = evaluate(NPO(beta=0.1), [Example(side, False, 0.0, side)])
    [slope] = gradient(output.per_example.sum(), [side.policy])

    assert slope.item() == pytest.approx(2 * exp(-10) / (1 + exp(-10)), rel=1e-9)


def test_npo_itself_learns_nothing_from_desirable_completions() -> None:
    side = ratio_side(1.0)

    output = evaluate(NPO(retain_weight=0.0), [Example(side, True, 0.0, side)])
    [slope] = gradient(output.per_example.sum(), [side.policy])

    assert output.per_example.item() == 0.0
    assert slope.item() == 0.0


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"npo: beta must be positive and finite, got {beta}"):
        NPO(beta=beta)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_the_retain_weight_must_be_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ConfigError, match=f"npo: retain_weight must be a finite number of at least 0, got {weight}"):
        NPO(retain_weight=weight)


def test_the_defaults_are_the_papers() -> None:
    assert NPO() == NPO(beta=0.1, retain_weight=1.0)
