"""Contrastive Preference Optimization (Xu et al., ICML 2024, https://arxiv.org/abs/2401.08417)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class CPO:
    """
    DPO with a uniform reference, and a likelihood term that keeps the chosen completion likely.

    With `l = log p_policy(y|x)` (L_prefer + L_NLL of the paper; the first checked against TRL):

        -log sigmoid(beta * (l_chosen - l_rejected)) - alpha * l_chosen

    The paper has no alpha: it is 1. TRL averages the second term over all tokens of a batch where the formula takes the
    sum of a completion, as this does: TRL's alpha of 1 is about one over the length of a completion here.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Contrastive Preference Optimization",
        source="Xu et al., ICML 2024, arXiv 2401.08417, L_prefer + L_NLL",
        reward="log p_policy(y|x)",
        reference_point="the log-probability of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere; and the log-probability of the chosen completion itself",
        use="Pairs whose chosen completion is good in itself (translation), without a reference model.",
    )

    beta: float = 0.1
    """How quickly a widening margin stops to count; 0.1 is the default of TRL, as of DPO's paper."""
    alpha: float = 1.0
    """The weight of the chosen completion's negative log-likelihood; 1 is the paper's formula."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"cpo: beta must be positive and finite, got {self.beta}")
        if not 0 <= self.alpha < inf:
            raise ConfigError(f"cpo: alpha must be at least 0 and finite, got {self.alpha}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = batch.chosen.policy.total()
        margin_B = self.beta * (chosen_B - batch.rejected.policy.total())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B) - self.alpha * chosen_B, metrics={"accuracy": accuracy_B})
