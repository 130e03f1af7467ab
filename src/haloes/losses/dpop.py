"""DPO-Positive (Pal et al., 2024, "Smaug", https://arxiv.org/abs/2402.13228)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid, relu

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class DPOP:
    """
    DPO with a penalty on a chosen completion that has become less likely than under the reference.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (the paper's L_DPOP, read in public restatements of it; its
    lambda is `penalty`, and stands inside the sigmoid, under beta):

        -log sigmoid(beta * (r_chosen - r_rejected - penalty * max(0, -r_chosen)))

    Without the penalty it is DPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="DPO-Positive",
        source="Pal et al. 2024, arXiv 2402.13228, L_DPOP",
        reward="log p_policy(y|x) - log p_reference(y|x), the chosen one's losses multiplied by 1 + penalty",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Pairs that differ in few tokens, on which DPO makes both completions less likely.",
    )

    beta: float = 0.3
    """How strongly the policy is held to the reference; 0.3 is reported for the Smaug models."""
    penalty: float = 50.0
    """lambda, what a nat below the reference costs the chosen completion; 50 is reported for the Smaug models."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"dpop: beta must be positive and finite, got {self.beta}")
        if not 0 <= self.penalty < inf:
            raise ConfigError(f"dpop: penalty must be at least 0 and finite, got {self.penalty}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = batch.chosen.log_ratio()
        margin_B = self.beta * (chosen_B - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        # relu: only a chosen completion that fell below the reference is held up; above it, this is DPO.
        held_B = margin_B - self.beta * self.penalty * relu(-chosen_B)
        return LossOutput(per_example=-logsigmoid(held_B), metrics={"accuracy": accuracy_B})
