"""
Kahneman-Tversky Optimization (Ethayarajh et al., ICML 2024, https://arxiv.org/abs/2402.01306).

The reference point z0 is computed by `Unpaired.reference_point`, from the mismatched completions of the whole step.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired
from haloes.losses._weights import Weight, check_weight, number


@dataclass(frozen=True, kw_only=True, slots=True)
class KTO:
    """
    Raise the reward of desirable completions above a reference point, and push the others below it.

    With `r = log p_policy(y|x) - log p_reference(y|x)` and the reference point `z0 = max(0, mean r(x, y'))` over
    the step's mismatched completions `y'`, through which no gradient flows (eq. 8 of the ICML text; beta outside r):

        desirable:    w_d * (1 - sigmoid(beta * (r - z0)))
        undesirable:  w_u * (1 - sigmoid(beta * (z0 - r)))

    z0 is the mean over all of the step's mismatched completions; the authors' code leaves those with r = 0 out.
    """

    needs: ClassVar[Needs] = Needs(reference=True, mismatched=True)
    metrics: ClassVar[tuple[str, ...]] = ("value",)
    about: ClassVar[About] = About(
        title="Kahneman-Tversky Optimization",
        source="Ethayarajh et al., ICML 2024, arXiv 2402.01306, eq. 8",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="mean reward of the step's mismatched completions, not below 0",
        value="logistic: concave in gains, convex in losses, a weight for each label",
        use="Thumbs up and down, one answer a prompt, imbalanced or noisy feedback. Ignores what is hopelessly wrong.",
    )

    beta: float = 0.1
    """How quickly the value saturates (risk aversion); 0.1 "works well in most cases". 0.01 to 0.1 after finetuning
    on the same data, 0.1 to 0.5 when the reference is already aligned (section 4.2)."""
    desirable_weight: Weight = 1.0
    """lambda_D, or "auto": so that lambda_D n_D / (lambda_U n_U) lies in [1, 3/2] (eq. 9)."""
    undesirable_weight: Weight = 1.0
    """lambda_U, or "auto". Above lambda_D it makes the loss avoid bad answers more than it seeks good ones."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"kto: beta must be positive and finite, got {self.beta}")
        check_weight("kto: desirable_weight", self.desirable_weight)
        check_weight("kto: undesirable_weight", self.undesirable_weight)

    def __call__(self, batch: Unpaired) -> LossOutput:
        reward_B = batch.completions.log_ratio()
        z0 = batch.reference_point()
        margin_B = torch.where(batch.desirable_B, reward_B - z0, z0 - reward_B)
        # sigmoid(-x) is 1 - sigmoid(x) without the cancellation at large x.
        short_B = torch.sigmoid(-self.beta * margin_B)
        desirable_weight, undesirable_weight = number(self.desirable_weight), number(self.undesirable_weight)
        loss_B = torch.where(batch.desirable_B, desirable_weight * short_B, undesirable_weight * short_B)
        return LossOutput(per_example=loss_B, metrics={"value": 1 - short_B.detach()})
