"""DiscoPOP, the log-ratio modulated loss (Lu et al., NeurIPS 2024, https://arxiv.org/abs/2406.08414)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscoPOP:
    """
    A mixture, found by a language model's search, of DPO's logistic loss and an exponential one.

    With `r = log p_policy(y|x) - log p_reference(y|x)`, `margin = beta * (r_chosen - r_rejected)` and the modulation
    `m = sigmoid(margin / tau)` (eq. 5, checked against TRL):

        -(1 - m) * log sigmoid(margin) + m * exp(-margin)

    Logistic on pairs that the policy ranks wrong, exponential on the others; between the two it is not convex.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="DiscoPOP (log-ratio modulated loss)",
        source="Lu et al., NeurIPS 2024, arXiv 2406.08414, eq. 5",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid in losses, minus an exponential in gains; a dent of falling value near 0",
        use="Clean pairs, as an alternative to DPO.",
    )

    beta: float = 0.05
    """How strongly the policy is held to the reference; 0.05 in the paper's training, after TRL."""
    tau: float = 0.05
    """Width of the passage from the logistic to the exponential part, in units of the margin; 0.05 in the paper."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"discopop: beta must be positive and finite, got {self.beta}")
        if not 0 < self.tau <= 1:  # above 1 the exponential outgrows its modulation on pairs ranked wrong
            raise ConfigError(f"discopop: tau must be above 0 and at most 1, got {self.tau}")

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = self.beta * (batch.chosen.log_ratio() - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        logistic_B = -logsigmoid(margin_B) * torch.sigmoid(-margin_B / self.tau)
        # One exponential of the sum: the factors alone overflow and vanish where the product is finite.
        exponential_B = torch.exp(logsigmoid(margin_B / self.tau) - margin_B)
        return LossOutput(per_example=logistic_B + exponential_B, metrics={"accuracy": accuracy_B})
