"""Losses as curves: the value that each implies, and its gradient, found by calling it (the KTO paper's Figure 1)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from haloes.errors import ConfigError
from haloes.guide.explain import fields_within
from haloes.losses._contract import Logps, Loss, Needs, Paired, Scored, Unpaired
from haloes.losses._weights import with_weights
from haloes.losses.make import hyperparameters, loss_maker, make_loss
from haloes.report.plot import MOST_COLOURS, Panel, Trace
from haloes.stats.bootstrap import Floats

_X = "reward less what it is compared with, in nats"
_POINTS = 241
_SATURATED = 5.0
"""A logistic is flat from this many times 1 / beta on."""
_SCALES = {"beta", "tau"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A loss as a function of the reward of one answer."""

    name: str
    desirable: bool
    """Whether the answer is desirable (of a pair: chosen)."""
    z_N: Floats
    """The answer's reward, less that of what it is compared with, in nats."""
    value_N: Floats
    """Fall of the loss from its value at 0: the human value that it implies, up to a constant."""
    gradient_N: Floats
    """d loss / d reward."""


def usual_range(losses: Iterable[Loss[Any]]) -> tuple[float, float]:
    """Choose a range of rewards in which the slowest of these losses becomes flat: at least 5 nats and at most 100."""
    scales = [value for loss in losses for _, name, value in fields_within(loss) if name in _SCALES and value > 0]
    reach = min(100.0, max(_SATURATED, *(_SATURATED / scale for scale in scales), _SATURATED))
    return -reach, reach


def curves(name: str, loss: Loss[Any], low: float, high: float) -> list[Curve]:
    """
    Trace a loss over the reward of a desirable answer, and of an undesirable one if it learns from those.

    Answers are of one token, in float64. The reward of the answer goes from `low` to `high`, and everything that it is
    compared with has reward 0: the other answer of the pair, mismatched answers, rewards of earlier steps. To a loss
    without a reference the reward is the distance of the log-probability from -(1 + high), the others' log-probability.
    A score is the best that there is for a desirable answer, and the worst for an undesirable one.
    """
    weighted = with_weights(loss, desirable=1.0, undesirable=1.0)
    labels = (True, False) if loss.needs.undesirable else (True,)
    return [_curve(name, weighted, desirable, np.linspace(low, high, _POINTS)) for desirable in labels]


def loss_panels(
    names: Sequence[str], *, settings: Mapping[str, Any], span: tuple[float, float] | None = None
) -> tuple[Panel, Panel]:
    """
    Draw losses in two panels: the values that they imply, and their gradients.

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
    traced = [curves(name, loss, low, high) for name, loss in losses.items()]
    colours = {name: colour for colour, name in enumerate(losses)}
    every = [curve for both in traced for curve in both]
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
    """Return the hyperparameters among settings; raise ConfigError where there are settings of anything else."""
    for section in settings:
        if section != "loss":
            raise ConfigError(f"{section}: a drawing has settings of the section loss alone, such as loss.beta=1")
    return dict(settings.get("loss", {}))


def _curve(name: str, loss: Loss[Any], desirable: bool, z_N: Floats) -> Curve:
    # Low enough that the best answer's log-probability stays below 0.
    others_logp = -(1.0 + max(0.0, float(z_N.max())))
    # The first reward is 0, from which the value is counted.
    reward_M = torch.tensor([0.0, *z_N], dtype=torch.float64)
    # Where the examples of a step depend on each other, every answer has a step to itself, with one of the other label.
    steps = list(reward_M[:, None]) if loss.needs.whole_step else [reward_M]
    costs = [_losses(loss, reward, desirable, others_logp) for reward in steps]
    loss_M, slope_M = (torch.cat(parts).numpy() for parts in zip(*costs, strict=True))
    return Curve(name=name, desirable=desirable, z_N=z_N, value_N=loss_M[0] - loss_M[1:], gradient_N=slope_M[1:])


def _losses(loss: Loss[Any], reward_B: Tensor, desirable: bool, others_logp: float) -> tuple[Tensor, Tensor]:
    """Return the loss of answers with these rewards, and its gradient with respect to each, (B,) both."""
    reward_B = reward_B.clone().requires_grad_()
    loss_E = loss(_step(loss.needs, reward_B, desirable, others_logp)).per_example
    # E is B, or twice B where each answer has a step with another: then the step's sum belongs to it.
    loss_B = loss_E.detach() if len(loss_E) == len(reward_B) else loss_E.detach().sum(0, keepdim=True)
    if not loss_E.requires_grad:
        return loss_B, torch.zeros_like(reward_B)
    (slope_B,) = torch.autograd.grad(loss_E.sum(), reward_B, allow_unused=True)
    return loss_B, torch.zeros_like(loss_B) if slope_B is None else slope_B


def _step(needs: Needs, reward_B: Tensor, desirable: bool, others_logp: float) -> Unpaired | Paired:
    """Make a batch of answers with these rewards, (B,), beside others of reward 0."""
    zero_B = torch.zeros_like(reward_B)
    if needs.pairs:
        this, other = _answers(reward_B, others_logp), _answers(zero_B, others_logp)
        chosen, rejected = (this, other) if desirable else (other, this)
        return needs.narrow(Paired(chosen, rejected, margin_B=zero_B))
    label_B = torch.full((len(reward_B),), desirable)
    if needs.whole_step:
        reward_B, label_B = torch.cat([reward_B, zero_B]), torch.cat([label_B, ~label_B])
    low, high = needs.score_range or (-1.0, 1.0)
    batch = Unpaired(
        _answers(reward_B, others_logp),
        label_B,
        mismatched=_answers(zero_B[:1], others_logp),
        score_B=torch.where(label_B, high, low).to(reward_B.dtype),
        running_reward=torch.zeros((), dtype=reward_B.dtype),
    )
    return needs.narrow(batch)


def _answers(reward_B: Tensor, others_logp: float) -> Scored:
    """Make up answers of one token each, out of a vocabulary of two: this token, or something else."""
    reference_B = torch.full_like(reward_B, others_logp).detach()
    policy_B = reference_B + reward_B
    other_reference_B, other_B = (torch.log(-torch.expm1(logp_B)) for logp_B in (reference_B, policy_B))
    kl_B = reference_B.exp() * (reference_B - policy_B) + other_reference_B.exp() * (other_reference_B - other_B)
    return Scored(
        Logps(policy_B, torch.ones(len(reward_B), dtype=torch.int64)),
        reference_B=reference_B,
        reference_T=reference_B,
        collision_T=policy_B.detach(),
        reference_kl_T=kl_B,
        value_T=torch.zeros_like(reward_B),
        reward_B=reward_B,
    )


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
    available = {key for name in names for key in hyperparameters(loss_maker(name))}
    for key in settings:
        if key not in available:
            raise ConfigError(
                f"loss.{key}: none of {', '.join(names)} has it. They have: {', '.join(sorted(available))}"
            )
