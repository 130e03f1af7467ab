"""Anchored Preference Optimization, down (D'Oosterlinck et al., TACL 2025, https://arxiv.org/abs/2408.06266)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class APODown:
    """
    Lower the reward of the chosen completion, and that of the rejected one by more.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (eq. 8, checked against TRL, which like this
    adds 1 to keep it above 0):

        sigmoid(beta * r_chosen) + 1 - sigmoid(beta * (r_chosen - r_rejected))

    For a policy that is better than even the chosen completions. Where those are better than the policy, take APO-zero,
    which needs no pairs.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Anchored Preference Optimization, down",
        source="D'Oosterlinck et al., TACL 2025, arXiv 2408.06266, eq. 8",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="0 for the chosen completion, which is to fall; its reward for the rejected one",
        value="logistic: flat at both ends",
        use="Pairs of which the policy's own answers are better than both.",
    )

    beta: float = 0.1
    """Scale of the log-ratios; 0.1 in section 5.2 of the paper."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"apo_down: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = self.beta * batch.chosen.log_ratio()
        margin_B = chosen_B - self.beta * batch.rejected.log_ratio()
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        # sigmoid(-x) is 1 - sigmoid(x) without the cancellation at large x.
        loss_B = torch.sigmoid(chosen_B) + torch.sigmoid(-margin_B)
        return LossOutput(per_example=loss_B, metrics={"accuracy": accuracy_B})
