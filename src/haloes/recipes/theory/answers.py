"""Answers by their rewards alone, as the losses are given them: one token each, in float64."""

import torch
from torch import Tensor

from haloes.losses._contract import Logps, Paired, Scored, Unpaired


def scored(log_ratio_B: Tensor) -> Scored:
    """Make answers with these log-ratios of policy to reference, in nats; gradients flow to them."""
    ones_B = torch.ones(len(log_ratio_B), dtype=torch.int64)
    return Scored(Logps(log_ratio_B, ones_B), torch.zeros_like(log_ratio_B).detach())


def rated(log_ratio_B: Tensor, desirable_B: Tensor, *, reference_point: float = 0.0) -> Unpaired:
    """Make answers with a label each, and one mismatched answer whose log-ratio is the reference point."""
    return Unpaired(scored(log_ratio_B), desirable_B, mismatched=scored(log_ratio_B.new_tensor([reference_point])))


def compared(chosen_B: Tensor, rejected_B: Tensor) -> Paired:
    """Make pairs with these log-ratios of the chosen and the rejected answers."""
    return Paired(scored(chosen_B), scored(rejected_B))
