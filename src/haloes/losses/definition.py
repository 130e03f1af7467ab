"""The definition of human-aware losses (KTO paper, Definition 3.4), checked on numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from haloes.losses._contract import Logps, Loss, Paired, Scored, Unpaired
from haloes.losses._weights import with_weights

Floats = NDArray[np.float64]

_TOLERANCE = 1e-8
_POINT = 5.0
"""A reference point at which no clamp acts, in nats."""
_LOGP = -8.0
"""log p_policy of the completions that are made up, where the reference is what varies."""
_FAR = 200.0
"""Outcomes are tried as far as this from the reference point, in nats."""


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition of a human-aware loss in one text of the paper."""

    name: str
    log_ratio: bool
    """The reward must be a log-ratio to the reference, up to a factor; in version 1 one without a reference will do."""


LATER = Definition("the ICML text", log_ratio=True)
V1 = Definition("version 1", log_ratio=False)


@dataclass(frozen=True, slots=True)
class HaloVerdict:
    """The result of the check; true where the loss is a human-aware loss."""

    is_halo: bool
    reason: str
    """The condition that fails, with numbers that show it; or what was found."""

    def __bool__(self) -> bool:
        return self.is_halo


def is_halo(loss: Loss[Any], definition: Definition = LATER) -> HaloVerdict:
    """
    Check a loss against the definition of human-aware losses, on made-up completions of one token.

    A loss is one if, up to a constant, it is `a v(r - E r')` of each example, with a sign `a` for each label, where the
    reward r is a multiple of log p_policy - log p_reference (or, in version 1, of log p_policy alone), r' the reward
    under a reference distribution, and the value function v non-decreasing everywhere and concave in gains, above 0
    (Ethayarajh et al., ICML 2024, https://arxiv.org/abs/2402.01306, Definition 3.4; version 1, eq. 5).

    A loss that compares its reward with nothing has no reference point. There is one exception, the paper's own: where
    tokens are the outcomes, all mass of the reference distribution may lie on the finished answer, whose reward is 0.
    The proof of Theorem 3.5 uses that for PPO-Clip, and takes its value function as one of the ratio p / p_reference,
    in which it is concave; of the logarithm it is not, up to the clip. This check follows the proof.

    What holds here holds at the numbers that were tried: a verdict against is proved by its example, one for is not.

    Args:
        loss: any loss of the table or of one's own.
        definition: `LATER` or `V1`.
    """
    loss = with_weights(loss, desirable=1.0, undesirable=1.0)
    if loss.needs.control is not None:
        return HaloVerdict(is_halo=False, reason="what it prefers stands in the prompt: its reward knows no label")
    if loss.needs.rewards:
        return HaloVerdict(
            is_halo=False, reason="its reward is what a head reads, not how likely the policy answers so"
        )
    if loss.needs.whole_step:
        return HaloVerdict(
            is_halo=False,
            reason="its examples depend on each other: a completion is compared with those of its step that its own "
            "reward chooses, and with no reference point of its prompt",
        )
    labels = (True, False) if loss.needs.undesirable and not loss.needs.pairs else (True,)
    checks = [_fault_of_log_ratio] if definition.log_ratio or loss.needs.any_reference else []
    for label in labels:
        for check in (*checks, _fault_of_reference_point, _fault_of_value):
            fault = check(loss, label)
            if fault is not None:
                return HaloVerdict(is_halo=False, reason=fault)
    return HaloVerdict(is_halo=True, reason=f"a human-aware loss by {definition.name}: {_reason_for(loss, labels)}")


def _fault_of_log_ratio(loss: Loss[Any], label: bool) -> str | None:
    """Say where the loss changes although log p_policy and log p_reference were moved alike; None where it does not."""
    for reward in (-3.0, 0.0, 2.0):
        for shift in (-4.0, 7.0):
            straight = _at(loss, label, own=reward, other=_POINT)
            moved = _at(loss, label, own=reward, other=_POINT, shift=shift)
            if not _same(straight, moved):
                return (
                    f"its reward is no log-ratio to a reference: with both log-probabilities of {_answer(label)} "
                    f"{shift:+g}, their difference {reward:g} as before, the loss goes from {straight:.6g} to "
                    f"{moved:.6g}"
                )
    return None


def _fault_of_reference_point(loss: Loss[Any], label: bool) -> str | None:
    """Say where the loss changes although a reward and its reference point were moved alike; None where it does not."""
    rewards, shift = np.array([-3.0, 0.0, 2.0]), 4.0
    # Several reference points, since a clamp or a hinge may hide the change between two.
    compared = [_losses(loss, label, own=rewards, other=point) for point in (0.5, 1.0, _POINT, _POINT + shift)]
    if all(np.allclose(values, compared[0], rtol=_TOLERANCE, atol=_TOLERANCE) for values in compared):
        if _judges_tokens(loss):
            return None
        return "it has no reference point: no other reward changes what a completion's reward is worth"
    for reward in rewards:
        straight = _at(loss, label, own=reward, other=_POINT)
        moved = _at(loss, label, own=reward + shift, other=_POINT + shift)
        if not _same(straight, moved):
            return (
                f"it is no function of the reward less a reference point: with the reward of {_answer(label)} and of "
                f"what it is compared with {shift:+g}, their difference as before, the loss goes from {straight:.6g} "
                f"to {moved:.6g}"
            )
    return None


def _fault_of_value(loss: Loss[Any], label: bool) -> str | None:
    """Say where the value, minus the loss up to a sign, falls or is convex in gains; None where it does not."""
    everywhere = np.linspace(-_FAR, _FAR, 801)
    value = _curve(loss, label, everywhere)
    falls, rises = np.diff(value) < -_TOLERANCE, np.diff(value) > _TOLERANCE
    if falls.any() and rises.any():
        up, down = int(np.flatnonzero(rises)[0]), int(np.flatnonzero(falls)[0])
        return (
            f"its value function is not monotonic: for {_answer(label)} the loss rises at an outcome of "
            f"{everywhere[up]:g} and falls at {everywhere[down]:g}"
        )
    sign = -1.0 if falls.any() else 1.0
    # Even steps of the ratio, not of its logarithm, where tokens are judged: see Theorem 3.5 above.
    gains = np.log(np.linspace(1.0, 20.0, 400)) if _judges_tokens(loss) else np.linspace(0.0, _FAR, 801)
    bend = np.diff(sign * _curve(loss, label, gains), n=2)
    if (bend > _TOLERANCE).any():
        bent_at = gains[1 + int(np.argmax(bend))]
        return (
            f"its value function is not concave in gains: for {_answer(label)} it bends upwards at an outcome of "
            f"{bent_at:.3g}"
        )
    return None


def _curve(loss: Loss[Any], label: bool, outcomes: Floats) -> Floats:
    point = 0.0 if _judges_tokens(loss) else _POINT
    return _losses(loss, label, own=point + outcomes, other=point)


def _at(loss: Loss[Any], label: bool, *, own: float, other: float, shift: float = 0.0) -> float:
    return float(_losses(loss, label, own=np.array([own]), other=other, shift=shift)[0])


def _losses(loss: Loss[Any], label: bool, *, own: Floats, other: float, shift: float = 0.0) -> Floats:
    """
    Call the loss on completions of one token, and return its value for each.

    Args:
        loss: the loss.
        label: whether they are desirable.
        own: their log-ratios to the reference, in nats.
        other: that of what they may be compared with: the rejected or the mismatched completions, the earlier steps.
        shift: added to both log-probabilities of each.
    """
    completions = _scored(loss, own, shift)
    if loss.needs.pairs:
        output = loss(Paired(completions, _scored(loss, np.full(len(own), other), 0.0)))
    else:
        batch = Unpaired(
            completions,
            torch.full((len(own),), label),
            mismatched=_scored(loss, np.array([other]), 0.0),
            score_B=torch.full((len(own),), 1.0 if label else -1.0, dtype=torch.float64),
            running_reward=torch.tensor(other, dtype=torch.float64),
        )
        output = loss(batch)
    return output.per_example.numpy()


def _scored(loss: Loss[Any], log_ratio: Floats, shift: float) -> Scored:
    """Make up completions of one token; for a loss without a reference, as if the reference were constant."""
    ratio = torch.from_numpy(log_ratio)
    # Where log p itself is the reward it must stay below 0 for every outcome that is tried.
    start = _LOGP + shift if loss.needs.any_reference else _LOGP - 2 * _FAR + shift
    policy = torch.full_like(ratio, start) + (0 if loss.needs.any_reference else ratio)
    zero = torch.zeros_like(ratio)
    logps = Logps(policy, torch.ones(len(ratio), dtype=torch.int64))
    reference = policy - ratio
    return Scored(logps, reference, reference, collision_T=zero - 1.0, reference_kl_T=zero, value_T=zero)


def _judges_tokens(loss: Loss[Any]) -> bool:
    """Return whether single tokens are its outcomes, compared with nothing that it is given."""
    needs = loss.needs
    return needs.reference_tokens and not (needs.pairs or needs.mismatched or needs.running_reward)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _TOLERANCE * max(1.0, abs(a), abs(b))


def _answer(label: bool) -> str:
    return "a desirable completion" if label else "an undesirable completion"


def _reason_for(loss: Loss[Any], labels: tuple[bool, ...]) -> str:
    of = "ratio p_policy / p_reference" if _judges_tokens(loss) else "reward"
    compared = "" if len(labels) == 1 else " for both labels"
    return f"its value function is monotonic and concave in gains of the {of}{compared}"
