"""
Human-aware losses from three parts (Ethayarajh et al., ICML 2024, https://arxiv.org/abs/2402.01306, Def. 3.4).

A human-aware loss is `w * (best - v(r - z))`: a reward r of a completion, a reference point z that it is compared with,
a value function v with the bound `best`, and a weight w for each label. Known losses fall out of the choice of the
three, here with `r = log p_policy(y|x) - log p_reference(y|x)`.

KTO is the default.

    reward            LogRatio          r
    reference point   MismatchedMean    z0 = max(0, mean r(x, y')) over mismatched completions y'
    value             Logistic          sigmoid(beta (r - z0)) if desirable, sigmoid(beta (z0 - r)) if not; best is 1

    loss              w (1 - sigmoid(beta (r - z0)))   or   w (1 - sigmoid(beta (z0 - r)))

DPO judges the chosen completion of each pair, by another reference point and another value function.

    reward            LogRatio          r
    reference point   RejectedReward    r of the rejected completion
    value             LogSigmoid        log sigmoid(beta (r_chosen - r_rejected)); best is 0

    loss              -log sigmoid(beta (r_chosen - r_rejected))

Offline PPO-Clip with rewards of +1 and -1 judges tokens, and compares them with nothing. With q = exp(r) of a token:

    reward            TokenLogRatio     r of each token
    reference point   Origin            0
    value             ClippedRatio      min(q, high) if desirable, -max(q, low) if not; best is 0

    loss              mean over tokens of   -min(q, high)   or   max(q, low)

IPO does not fall out: its value, -(margin - 1 / (2 beta))^2, rises and falls again. `is_halo` finds such reasons.
"""

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
