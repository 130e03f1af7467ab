"""Direct Reward Optimisation with a value function, DRO-V (Richemond et al., 2024, https://arxiv.org/abs/2405.19107)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class DROValue:
    """
    Fit the implied reward to the human's score of the completion, above the learned value of its prompt.

    With `r = log p_policy(y|x) - log p_reference(y|x)`, the score `s`, +1 or -1 by the label where there is none, and
    `V(x)` the value head's estimate before the completion's first token:

        1/2 (s - V(x) - tau r)^2

    The policy and the head are fitted together. The paper divides the policy's gradient by tau, which is 1 by default;
    it prefers a value network of its own, of several outputs, to a shared one. Here the head reads the policy's hidden
    states without changing them.
    """

    needs: ClassVar[Needs] = Needs(reference=True, scores=True, values=True)
    metrics: ClassVar[tuple[str, ...]] = ("prompt_value",)
    about: ClassVar[About] = About(
        title="Direct Reward Optimisation with a value function (DRO-V)",
        source="Richemond et al., 2024, arXiv 2405.19107 (through a reader's notes and two implementations)",
        reward="tau * (log p_policy(y|x) - log p_reference(y|x))",
        reference_point="the score less the prompt's value",
        value="squared error",
        use="Scores, one answer a prompt, where some prompts draw higher scores than others.",
    )

    tau: float = 1.0
    """How strongly the policy is held to the reference; the best of 0.1, 1 and 5 in the paper."""

    def __post_init__(self) -> None:
        if not 0 < self.tau < inf:
            raise ConfigError(f"dro_value: tau must be positive and finite, got {self.tau}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy, value_T = batch.completions.policy, batch.completions.value()
        # The head's estimate before the first token has seen the prompt alone.
        value_B = policy.sums(torch.where(policy.position() == 0, value_T, 0))
        error_B = batch.scores() - value_B - self.tau * batch.completions.log_ratio()
        return LossOutput(per_example=error_B**2 / 2, metrics={"prompt_value": value_B.detach()})
