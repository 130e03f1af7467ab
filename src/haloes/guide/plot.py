"""Losses drawn: the value that each implies, and its gradient (the KTO paper's Figure 1)."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from haloes.errors import ConfigError
from haloes.guide.curves import Curve, curves, usual_range
from haloes.losses.make import hyperparameters, loss_maker, make_loss
from haloes.report.plot import MOST_COLOURS, Panel, Trace

_X = "reward less what it is compared with, in nats"


def loss_panels(
    names: Sequence[str], *, settings: Mapping[str, Any], span: tuple[float, float] | None = None
) -> tuple[Panel, Panel]:
    """
    What to draw of these losses: the implied values, and the gradients.

    Args:
        names: losses of the table, or path/to/file.py:Class.
        settings: hyperparameters; each is set in those losses that have it.
        span: the rewards to look at; if left out, far enough for the slowest loss to be flat.

    Raises:
        ConfigError: there are too many losses, none has one of the hyperparameters, or a loss does not exist.
    """
    if not 1 <= len(names) <= MOST_COLOURS:
        raise ConfigError(f"losses plot: takes 1 to {MOST_COLOURS} losses, got {len(names)}")
    if span is not None and not -inf < span[0] < 0 < span[1] < inf:
        got = f"{span[0]:g} to {span[1]:g}"
        raise ConfigError(f"losses plot: the range must go from below 0 to above 0, with finite ends, got {got}")
    _check_known(names, settings)
    losses = {name: make_loss(name, _own(name, settings)) for name in dict.fromkeys(names)}
    low, high = span or usual_range(losses.values())
    found = [curves(name, loss, low, high) for name, loss in losses.items()]
    colours = {name: colour for colour, name in enumerate(losses)}
    every = [curve for both in found for curve in both]
    value = Panel(
        title="Implied value (what the loss falls by)",
        x_label=_X,
        dashed="undesirable",
        traces=tuple(_trace(curve, "value_N", colours) for curve in every),
    )
    gradient = Panel(
        title="Gradient dL/dr (below 0, training raises the reward)",
        x_label=_X,
        dashed="undesirable",
        traces=tuple(_trace(curve, "gradient_N", colours) for curve in every),
    )
    return value, gradient


def section_of_loss(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters among settings; ConfigError where there are settings of anything else."""
    for section in settings:
        if section != "loss":
            raise ConfigError(f"{section}: a drawing has settings of the section loss alone, such as loss.beta=1")
    return dict(settings.get("loss", {}))


def _trace(curve: Curve, field: str, colours: Mapping[str, int]) -> Trace:
    return Trace(
        label=curve.name if curve.desirable else f"{curve.name}, undesirable",
        colour=colours[curve.name],
        dashed=not curve.desirable,
        xs=curve.z_N,
        ys=getattr(curve, field),
    )


def _own(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in hyperparameters(loss_maker(name))}


def _check_known(names: Sequence[str], settings: Mapping[str, Any]) -> None:
    known = {key for name in names for key in hyperparameters(loss_maker(name))}
    for key in settings:
        if key not in known:
            raise ConfigError(f"loss.{key}: none of {', '.join(names)} has it. They have: {', '.join(sorted(known))}")
