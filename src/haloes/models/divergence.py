"""Divergence of whole next-token distributions, and how peaked one is, in chunks of positions."""

from typing import Any

import torch
from torch import Tensor

from haloes.models.lm_head import Head, chunks, logits_of


def token_kl(policy_NH: Tensor, policy: Head, reference_NH: Tensor, reference: Head) -> Tensor:
    """
    Return KL(policy || reference) of the next-token distributions, (N,) in nats, without gradient.

    It is the sum over the whole vocabulary, not an estimate from sampled tokens.

    Args:
        policy_NH: hidden states of the policy at N positions.
        policy: its output layer.
        reference_NH: hidden states of the reference at the same positions.
        reference: its output layer.
    """
    kl_N = torch.empty(len(policy_NH), dtype=torch.float32, device=policy_NH.device)
    with torch.no_grad():
        for part in chunks(len(policy_NH), policy.weight_VH.shape[0]):
            p = torch.log_softmax(logits_of(policy_NH[part], policy), dim=-1)
            q = torch.log_softmax(logits_of(reference_NH[part], reference), dim=-1)
            kl_N[part] = (p.exp() * (p - q)).sum(-1)
    return kl_N


def log_collision(hidden_NH: Tensor, head: Head) -> Tensor:
    """Return log sum_v p(v)^2 of the next-token distribution at each of N positions, (N,), without gradient."""
    collision_N = torch.empty(len(hidden_NH), dtype=torch.float32, device=hidden_NH.device)
    with torch.no_grad():
        for part in chunks(len(hidden_NH), head.weight_VH.shape[0]):
            # In logarithms: the square of a small probability is no float32 any more.
            collision_N[part] = torch.logsumexp(2 * torch.log_softmax(logits_of(hidden_NH[part], head), dim=-1), dim=-1)
    return collision_N


def reference_kl(policy_NH: Tensor, policy: Head, reference_NH: Tensor, reference: Head) -> Tensor:
    """
    Return KL(reference || policy) of the next-token distributions, (N,) in nats, differentiable in the policy.

    Arguments as for `token_kl`. Chunks are computed again in the backward pass, so that no logits are kept.
    """
    kl_N: Tensor = torch.cat(
        [policy_NH[:0].sum(-1, dtype=torch.float32)]  # of no positions there is nothing to join
        + [
            torch.utils.checkpoint.checkpoint(
                _forward_kl, policy_NH[part], policy, reference_NH[part], reference, use_reentrant=False
            )
            for part in chunks(len(policy_NH), policy.weight_VH.shape[0])
        ]
    )
    return kl_N


def _forward_kl(policy_CH: Tensor, policy: Head, reference_CH: Tensor, reference: Head) -> Any:
    """Return KL(reference || policy) of one chunk of positions, (C,)."""
    with torch.no_grad():
        q = torch.log_softmax(logits_of(reference_CH, reference), dim=-1)
    p = torch.log_softmax(logits_of(policy_CH, policy), dim=-1)
    return (q.exp() * (q - p)).sum(-1)
