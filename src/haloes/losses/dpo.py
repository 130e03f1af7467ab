"""Direct Preference Optimization (Rafailov et al., 2023, https://arxiv.org/abs/2305.18290)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class DPO:
    """
    Widen the margin between the rewards of the chosen and the rejected completion.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (eq. 7):

        -log sigmoid(beta * (r_chosen - r_rejected))

    As a human-aware loss its reference point is the rejected completion's own reward; KTO's is shared by the step.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Direct Preference Optimization",
        source="Rafailov et al., NeurIPS 2023, arXiv 2305.18290, eq. 7",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Clean pairs with little contradiction between raters.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 is the paper's default."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"dpo: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = batch.chosen.log_ratio()
        rejected_B = batch.rejected.log_ratio()
        margin_B = self.beta * (chosen_B - rejected_B)
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B), metrics={"accuracy": accuracy_B})
