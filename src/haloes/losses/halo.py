"""A human-aware loss from three dials (Ethayarajh et al., ICML 2024, https://arxiv.org/abs/2402.01306, Def. 3.4)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired, Unpaired
from haloes.losses._weights import Weight, check_weight, number
from haloes.losses.components import Logistic, LogRatio, MismatchedMean, ReferencePoint, Reward, Value


@dataclass(frozen=True, kw_only=True, slots=True)
class HALO:
    """
    The value that a human sees in an outcome relative to a reference point, to be raised.

    With the outcome `z = reward - reference point` and the label's weight w, averaged over a completion's outcomes:

        w * (best value - value(z))

    The best value, a constant, only keeps the loss above 0. With the dials' defaults this is KTO; see `haloes losses`
    for the others that can be made.
    """

    metrics: ClassVar[tuple[str, ...]] = ("value",)
    about: ClassVar[About] = About(
        title="Human-aware loss, built",
        source="Ethayarajh et al., ICML 2024, arXiv 2402.01306, Definition 3.4",
        reward="the dial `reward`",
        reference_point="the dial `reference_point`",
        value="the dial `value`",
        use="To try a reward, a reference point or a value function that no loss of the table has.",
    )

    reward: Reward = field(default_factory=LogRatio)
    """What a completion is worth: log-ratio, token-log-ratio, average-logp."""
    reference_point: ReferencePoint = field(default_factory=MismatchedMean)
    """What that is compared with: mismatched-mean, mismatched-mean-unclamped, rejected-reward, origin."""
    value: Value = field(default_factory=Logistic)
    """What the difference means: logistic, log-sigmoid, linear, power, clipped-ratio."""
    desirable_weight: Weight = 1.0
    """lambda_D, or "auto": so that lambda_D n_D / (lambda_U n_U) lies in [1, 3/2] (eq. 9)."""
    undesirable_weight: Weight = 1.0
    """lambda_U, or "auto"."""

    def __post_init__(self) -> None:
        check_weight("halo: desirable_weight", self.desirable_weight)
        check_weight("halo: undesirable_weight", self.undesirable_weight)
        if self.reference_point.needs.pairs and self.reward.needs.reference_tokens:
            raise ConfigError("halo: a reward of tokens cannot be compared within pairs; take log-ratio as the reward")

    @property
    def needs(self) -> Needs:
        """Return what its reward and its reference point need."""
        return self.reward.needs | self.reference_point.needs

    def __call__(self, batch: Unpaired | Paired) -> LossOutput:
        outcomes, desirable_B = self.reference_point(batch, self.reward)
        value_K = self.value(outcomes.value_K, outcomes.spread(desirable_B))
        short_B = outcomes.per_completion(self.value.best - value_K)
        desirable_weight, undesirable_weight = number(self.desirable_weight), number(self.undesirable_weight)
        # Not a tensor of weights, which would be float32 whatever the losses are.
        loss_B = torch.where(desirable_B, desirable_weight * short_B, undesirable_weight * short_B)
        return LossOutput(per_example=loss_B, metrics={"value": self.value.best - short_B.detach()})
