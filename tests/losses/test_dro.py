"""DRO with a constant baseline, against sums done by hand and against the paper's formula written out in NumPy."""

from collections.abc import Sequence

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.dro import DRO
from loss_batches import Example, Numbers, evaluate, gradient, ratio_side
from loss_oracles import Row, assert_agrees


def formula(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
    """1/2 (s - V - tau r)^2 with V = 0.3 and tau = 0.7."""
    return np.array([(row.score - 0.3 - 0.7 * row.ratio) ** 2 / 2 for row in rows])


def test_worked_example() -> None:
    # 1/2 (4 - 1 - 0.5 * 2)^2 = 2; the label does not matter.
    side = ratio_side(2.0)

    output = evaluate(DRO(tau=0.5, baseline=1.0), [Example(side, True, 4.0, side), Example(side, False, 4.0, side)])

    assert output.per_example.tolist() == pytest.approx([2.0, 2.0], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int) -> None:
    assert_agrees(DRO(tau=0.7, baseline=0.3), formula, seed=seed)


@pytest.mark.parametrize(("score", "ratio"), [(1.0, 0.4), (-1.0, -2.5), (0.2, 3.0)])
def test_the_gradient_is_tau_times_that_of_the_policy_form(score: float, ratio: float) -> None:
    # d/dr of -(s - b) r + tau/2 r^2 is tau r - (s - b).
    side = ratio_side(ratio)

    [slope] = gradient(
        evaluate(DRO(tau=0.7, baseline=0.3), [Example(side, True, score, side)]).per_example.sum(), [side.policy]
    )

    assert slope.item() == pytest.approx(0.7 * (0.7 * ratio - (score - 0.3)), rel=1e-12)


def test_it_rests_where_the_reward_is_the_score_above_the_baseline() -> None:
    side = ratio_side(1.4)

    output = evaluate(DRO(tau=0.5, baseline=0.3), [Example(side, True, 1.0, side)])

    assert output.per_example.item() == pytest.approx(0.0, abs=1e-30)


@pytest.mark.parametrize("tau", [0, -0.1, float("nan"), float("inf")])
def test_tau_must_be_positive(tau: float) -> None:
    with pytest.raises(ConfigError, match=f"dro: tau must be positive and finite, got {tau}"):
        DRO(tau=tau)


@pytest.mark.parametrize("baseline", [float("nan"), float("inf")])
def test_the_baseline_must_be_finite(baseline: float) -> None:
    with pytest.raises(ConfigError, match=f"dro: baseline must be finite, got {baseline}"):
        DRO(baseline=baseline)
