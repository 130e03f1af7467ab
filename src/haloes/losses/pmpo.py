"""Preference-based Maximum a Posteriori Policy Optimization (Abdolmaleki et al., 2024, https://arxiv.org/abs/2410.04166)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class PMPO:
    """
    Raise the likelihood of desirable completions, lower that of undesirable ones, and stay near the reference by a KL.

    With `KL_t = KL(p_reference || p_policy)` of the whole distribution at each token of the completion:

        desirable:    -2 alpha log p_policy(y|x) + beta sum_t KL_t
        undesirable:  2 (1 - alpha) log p_policy(y|x) + beta sum_t KL_t

    Eq. 10 (version 3), whose two expectations are each over one label: the 2 makes it the mean over a batch with as
    many of each. There completions are sampled from the reference, so that the sum estimates the KL of whole answers;
    here they are the data's. Without the KL the second line has no lower bound.
    """

    needs: ClassVar[Needs] = Needs(reference_kl=True)
    metrics: ClassVar[tuple[str, ...]] = ("reference_kl",)
    about: ClassVar[About] = About(
        title="Preference-based Maximum a Posteriori Policy Optimization",
        source="Abdolmaleki et al., ICLR 2025, arXiv 2410.04166 version 3, eq. 10 (through a reader's excerpt)",
        reward="log p_policy(y|x)",
        reference_point="none",
        value="identity, with a KL penalty",
        use="Learns from good answers, from bad ones, or both; computes the reference in every step.",
    )

    alpha: float = 0.5
    """The share of learning from desirable completions; 1 learns from them alone, 0 from undesirable ones alone."""
    beta: float = 1.0
    """Weight of the KL penalty. The paper needs above 1 - alpha, and tries 0 to 2; at 0.5 and below, training from bad
    answers may collapse."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"pmpo: alpha must lie between 0 and 1, got {self.alpha}")
        if not 0 < self.beta < inf:
            raise ConfigError(f"pmpo: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy = batch.completions.policy
        total_B, penalty_B = policy.total(), policy.sums(batch.completions.reference_kl())
        # Undesirable completions have the sign of likelihood turned around; the KL alone bounds it from below.
        likelihood_B = torch.where(batch.desirable_B, -2 * self.alpha * total_B, 2 * (1 - self.alpha) * total_B)
        loss_B = likelihood_B + self.beta * penalty_B
        return LossOutput(per_example=loss_B, metrics={"reference_kl": penalty_B.detach()})
