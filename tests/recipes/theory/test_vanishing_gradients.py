"""Proposition 4.1, against the gradients worked out by hand."""

import numpy as np
import pytest

from haloes.recipes.theory.vanishing_gradients import REWARDS, gradients, lines


def logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_gradients_are_those_of_the_formulas(beta: float):
    # KTO: d/dr (1 - sigmoid(beta r)) = -beta sigmoid(beta r) sigmoid(-beta r); DPO: -beta sigmoid(-beta r).
    for row in gradients([-30.0, -1.0, 0.0, 2.0, 30.0], beta=beta):
        bump = beta * logistic(beta * row.reward) * logistic(-beta * row.reward)
        assert row.kto_desirable == pytest.approx(-bump, rel=1e-12)
        assert row.kto_undesirable == pytest.approx(bump, rel=1e-12)
        assert row.dpo_chosen == pytest.approx(-beta * logistic(-beta * row.reward), rel=1e-12)
        assert row.dpo_rejected == pytest.approx(beta * logistic(beta * row.reward), rel=1e-12)


def test_ktos_gradient_vanishes_at_both_ends_and_dpos_where_the_model_is_right_alone():
    low, high = gradients([-1000.0, 1000.0], beta=0.1)

    assert all(abs(g) < 1e-40 for end in (low, high) for g in (end.kto_desirable, end.kto_undesirable))
    assert abs(high.dpo_chosen) < 1e-40
    assert abs(low.dpo_rejected) < 1e-40
    assert low.dpo_chosen == pytest.approx(-0.1)
    assert high.dpo_rejected == pytest.approx(0.1)


def test_what_is_shown_are_these_gradients():
    shown = list(lines())

    assert len([line for line in shown if line[:6].strip() in {f"{reward:.0f}" for reward in REWARDS}]) == len(REWARDS)
    assert "     0       -0.025        0.025        -0.05           0.05" in shown
