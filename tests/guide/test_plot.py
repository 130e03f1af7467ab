"""What is drawn of losses, and what is refused."""

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.guide.plot import loss_panels


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
