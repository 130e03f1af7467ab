"""Simple Preference Optimization (Meng, Xia, Chen, NeurIPS 2024, https://arxiv.org/abs/2405.14734)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class SimPO:
    """
    Make the chosen completion likelier per token than the rejected one, by a margin. No reference model.

    With `a = log p_policy(y|x) / |y|`, the mean log-probability of a completion's tokens (eq. 6):

        -log sigmoid(beta * a_chosen - beta * a_rejected - gamma)

    Checked against TRL, which has it as `loss_type="simpo"` of its CPO trainer and needs cpo_alpha = 0 for this; the
    authors' code sets the ratio gamma / beta in place of gamma.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Simple Preference Optimization",
        source="Meng, Xia, Chen, NeurIPS 2024, arXiv 2405.14734, eq. 6",
        reward="beta * log p_policy(y|x) / |y|",
        reference_point="the reward of the rejected completion of the same pair, plus gamma",
        value="log-sigmoid: concave everywhere",
        use="Pairs, when a reference model does not fit into memory, and to keep answers short.",
    )

    beta: float = 2.0
    """Scale of the reward, much larger than DPO's because it is per token; 2.0 is the default of the authors' code."""
    gamma: float = 0.5
    """The margin wanted between the rewards; 0.5 is the default of the authors' code (a quarter of beta) and of TRL."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"simpo: beta must be positive and finite, got {self.beta}")
        if not 0 <= self.gamma < inf:
            raise ConfigError(f"simpo: gamma must be at least 0 and finite, got {self.gamma}")

    def __call__(self, batch: Paired) -> LossOutput:
        # Averages, not sums: a longer completion is not less likely for its length.
        margin_B = self.beta * (batch.chosen.policy.average() - batch.rejected.policy.average())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B - self.gamma), metrics={"accuracy": accuracy_B})
