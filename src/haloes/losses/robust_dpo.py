"""Robust DPO (Ray Chowdhury, Kini, Natarajan, ICML 2024, https://arxiv.org/abs/2403.00409)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class RobustDPO:
    """
    DPO whose mean over randomly flipped preferences is what DPO would be on the true ones.

    With `r = log p_policy(y|x) - log p_reference(y|x)`, `margin = beta * (r_chosen - r_rejected)` and the probability
    `e = label_smoothing` that a label is flipped (section 3.1; checked against TRL):

        (-(1 - e) * log sigmoid(margin) + e * log sigmoid(-margin)) / (1 - 2 * e)

    Unlike conservative DPO it subtracts the flipped term: the margin never stops growing, and the loss is not bounded
    below. Without flips it is DPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Robust DPO",
        source="Ray Chowdhury, Kini, Natarajan, ICML 2024, arXiv 2403.00409, section 3.1",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid less a share of its mirror image: concave, rises without bound",
        use="Pairs flipped at random with a known probability; an unbiased estimate of DPO on clean pairs.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 is the default of DPO's paper."""
    label_smoothing: float = 0.1
    """The probability that a preference is flipped, below 1/2; 0.1 as in the paper's experiments, after TRL."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"robust_dpo: beta must be positive and finite, got {self.beta}")
        if not 0 <= 2 * self.label_smoothing < 1:
            raise ConfigError(
                f"robust_dpo: label_smoothing must be at least 0 and below 0.5, got {self.label_smoothing}"
            )

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = self.beta * (batch.chosen.log_ratio() - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        flipped = self.label_smoothing
        # Flip a pair with probability `flipped`, and the mean of this is DPO's loss of the true order.
        loss_B = (flipped * logsigmoid(-margin_B) - (1 - flipped) * logsigmoid(margin_B)) / (1 - 2 * flipped)
        return LossOutput(per_example=loss_B, metrics={"accuracy": accuracy_B})
