"""Mathematics of losses: KTO's reference point, optimal transport on a line, an exponential that stays finite."""

from math import exp
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import relu

CEILING: Final = 30.0
"""Where `expm1_then_tangent` leaves the exponential."""


def clamped_mean(reward_B: Tensor) -> Tensor:
    """
    Return KTO's z0 = max(0, mean reward), a scalar without gradient, from rewards of mismatched completions, (B,).

    Clamped once, after averaging (KTO paper, eq. 8 and the text below it): it estimates a KL divergence, which is
    never negative.
    """
    return reward_B.detach().mean().clamp(min=0)


def coupling(reward_B: Tensor, desirable_B: Tensor) -> Tensor:
    """
    Return the share of quantile levels at which desirable i (row) and undesirable j (column) both stand, (B, B).

    Sums to 1, or to 0 where a label is absent. Each completion spans as much of [0, 1] as any other of its label, in
    the order of rewards: the best coupling for any cost that is convex in the difference of rewards.
    """
    same_BB = desirable_B[:, None] == desirable_B[None, :]
    order_B = reward_B.argsort(stable=True).argsort()
    # The rank of each reward among those of its own label; ties go by position.
    rank_B = (same_BB & (order_B[:, None] > order_B[None, :])).sum(1)
    num_good = desirable_B.sum()
    num_bad = len(desirable_B) - num_good
    # Quantile levels in whole numbers of 1 / (num_good num_bad), so that shares are exact.
    width_B = torch.where(desirable_B, num_bad, num_good)
    low_B, high_B = rank_B * width_B, (rank_B + 1) * width_B
    # Two completions stand at the same quantile where their stretches of [0, 1] overlap.
    overlap_BB = torch.minimum(high_B[:, None], high_B[None, :]) - torch.maximum(low_B[:, None], low_B[None, :])
    across_BB = desirable_B[:, None] & ~desirable_B[None, :]
    count_BB = torch.where(across_BB, overlap_BB.clamp(min=0), 0)
    return count_BB.to(reward_B.dtype) / (num_good * num_bad).clamp(min=1).to(reward_B.dtype)


def expm1_then_tangent(x: Tensor) -> Tensor:
    """
    Return exp(x) - 1 up to x = 30, and from there on the tangent at that point.

    e^30 is 1e13: no training step survives what lies beyond, but float32 and the norm of its gradient do, and what is
    far off still weighs more than what is near.
    """
    return x.clamp(max=CEILING).expm1() + exp(CEILING) * relu(x - CEILING)
