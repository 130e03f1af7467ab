"""Unified Alignment on scores (Wang et al., 2024, https://arxiv.org/abs/2408.15339)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class UNAScore:
    """
    Fit the implied reward, as a number between 0 and 1, to the completion's score.

    With `r = log p_policy(y|x) - log p_reference(y|x)` and the score `s`, scaled to [0, 1]:

        (sigmoid(beta * r) - s)^2

    Scores outside [0, 1], which could not be reached, are refused with the data. Taken from the authors' code
    (ZhichaoWang970201/UNA-UFT, "score, MSE"), which scales the scores; the sigmoid is in the code, not in the paper's
    formula as others quote it.
    """

    needs: ClassVar[Needs] = Needs(reference=True, scores=True, score_range=(0.0, 1.0))
    metrics: ClassVar[tuple[str, ...]] = ("implied_score",)
    about: ClassVar[About] = About(
        title="Unified Alignment, scores with squared error",
        source="Wang et al., 2024, arXiv 2408.15339, and the authors' code",
        reward="sigmoid(beta * (log p_policy(y|x) - log p_reference(y|x)))",
        reference_point="the score",
        value="squared error",
        use="Ratings or a reward model's scores between 0 and 1, where how good matters and not only which is better.",
    )

    beta: float = 0.03
    """How strongly the policy is held to the reference; 0.03 in the authors' runs with this loss."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"una_score: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        implied_B = torch.sigmoid(self.beta * batch.completions.log_ratio())
        loss_B = (implied_B - batch.scores()) ** 2
        return LossOutput(per_example=loss_B, metrics={"implied_score": implied_B.detach()})
