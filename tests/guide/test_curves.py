"""Losses as curves, against their formulas worked out in NumPy."""

from typing import Any

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.guide.curves import curves, loss_panels, usual_range
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.ppo import PPO
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES
from haloes.losses.una_score import UNAScore
from haloes.losses.wpo import WPO


def both(loss: Any, low: float = -20.0, high: float = 20.0):
    good, bad = curves("x", loss, low, high)
    assert (good.desirable, bad.desirable) == (True, False)
    return good, bad


def logistic(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def test_ktos_value_is_a_logistic_from_one_half_and_its_gradient_the_slope():
    good, bad = both(KTO(beta=0.3, desirable_weight=2.0, undesirable_weight="auto"))
    s = logistic(0.3 * good.z_N)

    np.testing.assert_allclose(good.value_N, 2 * (s - 0.5), atol=1e-12)
    np.testing.assert_allclose(bad.value_N, 0.5 - s, atol=1e-12)
    np.testing.assert_allclose(good.gradient_N, -2 * 0.3 * s * (1 - s), atol=1e-12)
    np.testing.assert_allclose(bad.gradient_N, 0.3 * s * (1 - s), atol=1e-12)


def test_dpos_value_is_a_log_sigmoid_for_chosen_and_rejected_answers():
    good, bad = both(DPO(beta=0.5))

    np.testing.assert_allclose(good.value_N, np.log(2) - np.log1p(np.exp(-0.5 * good.z_N)), atol=1e-12)
    np.testing.assert_allclose(bad.value_N, np.log(2) - np.log1p(np.exp(0.5 * good.z_N)), atol=1e-12)
    np.testing.assert_allclose(bad.gradient_N, 0.5 * logistic(0.5 * good.z_N), atol=1e-12)


def test_ppos_value_is_the_clipped_ratio():
    good, bad = both(PPO(low=0.5, high=3.0), -3, 3)

    np.testing.assert_allclose(good.value_N, np.minimum(np.exp(good.z_N), 3) - 1, atol=1e-12)
    np.testing.assert_allclose(bad.value_N, 1 - np.maximum(np.exp(good.z_N), 0.5), atol=1e-12)


def test_a_loss_that_is_given_no_bad_answers_has_one_curve():
    (curve,) = curves("sft", SFT(), -2.0, 2.0)

    np.testing.assert_allclose(curve.value_N, curve.z_N, atol=1e-12)
    np.testing.assert_allclose(curve.gradient_N, -1)


def test_scores_are_the_best_and_the_worst_that_a_loss_takes():
    good, bad = both(UNAScore(beta=1.0))

    np.testing.assert_allclose(good.value_N, 0.25 - (1 - logistic(good.z_N)) ** 2, atol=1e-12)
    np.testing.assert_allclose(bad.value_N, 0.25 - logistic(good.z_N) ** 2, atol=1e-12)


def test_an_answer_is_taken_for_the_policys_own_where_that_matters():
    good, _ = both(WPO(beta=0.5))

    np.testing.assert_allclose(good.value_N, both(DPO(beta=0.5))[0].value_N, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_the_slopes_of_values(name: str):
    loss = LOSSES[name]()
    for curve in curves(name, loss, -4.0, 4.0):
        slope_N = np.gradient(curve.value_N, curve.z_N)
        # At kinks the two differ; everywhere else they agree.
        assert np.median(np.abs(slope_N + curve.gradient_N) / (1 + np.abs(curve.gradient_N))) < 1e-3, curve.desirable
        assert np.isfinite(curve.value_N).all()


def test_the_usual_range_is_where_the_slowest_loss_becomes_flat():
    assert usual_range([DPO(beta=0.1), KTO(beta=0.5)]) == (-50.0, 50.0)
    assert usual_range([DPO(beta=4.0)]) == (-5.0, 5.0)
    assert usual_range([DPO(beta=1e-6)]) == (-100.0, 100.0)
    assert usual_range([SFT()]) == (-5.0, 5.0)


def test_each_loss_has_a_colour_and_its_bad_answers_are_dashed():
    value, gradient = loss_panels(["kto", "sft", "dpo"], settings={})

    for panel in (value, gradient):
        assert [(t.label, t.colour, t.dashed) for t in panel.traces] == [
            ("kto", 0, False),
            ("kto, undesirable", 0, True),
            ("sft", 1, False),
            ("dpo", 2, False),
            ("dpo, undesirable", 2, True),
        ]
    assert value.x_axis.low == -50
    assert value.traces[0].ys[0] == pytest.approx(1 / (1 + np.exp(5)) - 0.5)


def test_settings_and_range_are_obeyed():
    value, _ = loss_panels(["kto", "sft"], settings={"beta": 2.0}, span=(-1.0, 3.0))

    assert (value.x_axis.low, value.x_axis.high) == (-1.0, 3.0)
    assert value.traces[0].ys[-1] == pytest.approx(1 / (1 + np.exp(-6)) - 0.5)


def test_a_loss_that_is_named_twice_is_drawn_once():
    assert len(loss_panels(["dpo", "dpo"], settings={})[0].traces) == 2


@pytest.mark.parametrize(
    ("names", "settings", "span", "message"),
    [
        (["kto"] * 7, {}, None, "takes 1 to 6 losses, got 7"),
        (["kto"], {}, (1.0, 3.0), "from below 0 to above 0, with finite ends, got 1 to 3"),
        (["kto"], {}, (-float("inf"), 3.0), "finite"),
        (["kto", "sft"], {"betta": 1}, None, "loss.betta: none of kto, sft has it. They have: beta, desirable_weight"),
        (["kot"], {}, None, 'Did you mean "kto"'),
        (["kto"], {"beta": -1}, None, "beta must be positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    names: list[str], settings: dict[str, float], span: tuple[float, float] | None, message: str
):
    with pytest.raises(ConfigError, match=message):
        loss_panels(names, settings=settings, span=span)
