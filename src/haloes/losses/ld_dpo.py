"""Length-desensitised DPO (Liu et al., 2024, https://arxiv.org/abs/2409.06411)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired, Scored


@dataclass(frozen=True, kw_only=True, slots=True)
class LDDPO:
    """
    DPO in which the tokens of the longer completion beyond the length of the shorter one count for less.

    With `r_t = log p_policy - log p_reference` of token t and `n` the length of the pair's shorter completion:

        R = sum(r_t for t <= n) + alpha * sum(r_t for t > n)
        -log sigmoid(beta * (R_chosen - R_rejected))

    With alpha 1 it is DPO; with 0 both completions are cut to the same length. Checked against TRL's `ld_alpha`.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, reference_tokens=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Length-desensitised DPO",
        source="Liu et al. 2024, arXiv 2409.06411",
        reward="sum of the tokens' log-ratios, discounted beyond the length of the shorter completion",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Pairs whose chosen answers are the longer ones, to learn what is better in them rather than their length.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 as in DPO."""
    alpha: float = 0.5
    """What a token beyond the shorter completion counts, from 0 to 1; 0.5 is the paper's suggestion, after TRL."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"ld_dpo: beta must be positive and finite, got {self.beta}")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"ld_dpo: alpha must be from 0 to 1, got {self.alpha}")

    def __call__(self, batch: Paired) -> LossOutput:
        shorter_B = torch.minimum(batch.chosen.policy.lengths_B, batch.rejected.policy.lengths_B)
        margin_B = self.beta * (self._reward(batch.chosen, shorter_B) - self._reward(batch.rejected, shorter_B))
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B), metrics={"accuracy": accuracy_B})

    def _reward(self, side: Scored, shared_B: Tensor) -> Tensor:
        ratio_T = side.token_log_ratio()
        # What the longer completion says beyond the length of the shorter is discounted, and not cut off.
        is_shared_T = side.policy.position() < side.policy.spread(shared_B)
        return side.policy.sums(torch.where(is_shared_T, ratio_T, self.alpha * ratio_T))
