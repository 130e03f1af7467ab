"""Shared by the two forms of offline PPO: the clipped objective, and advantages over ragged sequences."""

from math import inf

import torch
from torch import Tensor

from haloes.errors import ConfigError
from haloes.losses._contract import Logps

_LARGEST = 20.0
"""Token log-ratios above this count as this, lest exp() overflow; far beyond any clip, and verl's bound too."""


def check_clip(name: str, low: float, high: float) -> None:
    """Raise ConfigError where clip bounds do not enclose 1, the ratio of an unchanged policy."""
    if not 0 <= low < 1 < high < inf:
        raise ConfigError(f"{name}: low and high must be finite, with 0 <= low < 1 < high, got {low} and {high}")


def check_ranges(name: str, *, most: float, **values: float) -> None:
    """Raise ConfigError for numbers that are not finite, below 0, or above `most`."""
    limit = "a finite number of at least 0" if most == inf else f"between 0 and {most:g}"
    for field, value in values.items():
        if not (0 <= value <= most and value < inf):
            raise ConfigError(f"{name}: {field} must be {limit}, got {value}")


def clipped_loss(log_ratio_T: Tensor, advantage_T: Tensor, *, low: float, high: float) -> Tensor:
    """Return -min(q A, clip(q, low, high) A) of each token, (T,), with q the exponential of its log-ratio."""
    ratio_T = log_ratio_T.clamp(max=_LARGEST).exp()
    # The smaller of the two products is where q is cut from above for A > 0, and from below for A < 0.
    return -advantage_T * torch.where(advantage_T > 0, ratio_T.clamp(max=high), ratio_T.clamp(min=low))


def was_clipped(log_ratio_T: Tensor, advantage_T: Tensor, *, low: float, high: float) -> Tensor:
    """Mark with 1 the tokens whose ratio is past the bound that their advantage points to: they teach nothing; (T,)."""
    ratio_T = log_ratio_T.detach().clamp(max=_LARGEST).exp()
    return torch.where(advantage_T > 0, ratio_T > high, ratio_T < low).to(log_ratio_T.dtype)


def estimates(
    policy: Logps, sign_T: Tensor, value_T: Tensor, *, gamma: float, trace_decay: float
) -> tuple[Tensor, Tensor]:
    """
    Estimate advantages and discounted returns of tokens, (T,) both, for one reward at the last token of each sequence.

    The advantages are generalized (Schulman et al., 2016, https://arxiv.org/abs/1506.02438, eq. 16) and carry no
    gradient. A token's return holds its own reward: it is what `value_T` estimates, from before the token was seen.

    Args:
        policy: Tells the sequences apart.
        sign_T: The reward of the sequence that a token is in.
        value_T: What was estimated to come, before the token was seen.
        gamma: Discount a token.
        trace_decay: lambda; 0 trusts the estimates entirely, 1 not at all.
    """
    # The number of tokens that follow each in its completion: 0 at the last, which alone has a reward.
    left_T = policy.spread(policy.lengths_B) - 1 - policy.position()
    known_T = value_T.detach()
    # The estimate at the next token; the shift by one crosses into the next completion only where left_T is 0.
    next_T = torch.where(left_T > 0, torch.cat([known_T[1:], known_T.new_zeros(1)]), 0)
    error_T = torch.where(left_T == 0, sign_T, 0) + gamma * next_T - known_T
    return_T = sign_T * gamma ** left_T.to(sign_T.dtype)
    return _discounted_sums(error_T, left_T, gamma * trace_decay), return_T


def _discounted_sums(value_T: Tensor, left_T: Tensor, decay: float) -> Tensor:
    """Sum decay^k value[t + k] over k to the end of each sequence, (T,), by doubling the window: log2(T) passes."""
    reach = 1
    while reach < len(value_T):
        ahead_T = torch.cat([value_T[reach:], value_T.new_zeros(reach)])
        value_T = value_T + decay**reach * torch.where(left_T >= reach, ahead_T, 0)
        reach *= 2
    return value_T
