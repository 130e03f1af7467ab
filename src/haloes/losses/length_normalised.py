"""Length normalisation of any loss (as in Tülu 3, Lambert et al., 2024, https://arxiv.org/abs/2411.15124)."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from haloes.errors import ConfigError
from haloes.losses._contract import Logps, Loss, LossOutput, Needs, Scored, call_loss, declared_metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthNormalised:
    """
    Another loss on log-probabilities per token, so that a long completion has no larger log-ratio for its length.

    What the loss is given in place of the log-probabilities of a completion of |y| tokens:

        log p_policy(y|x) / |y|,  log p_reference(y|x) / |y|

    Log-ratios become smaller by the length of the answers: beta has to be larger by as much (Tülu 3 takes 5 for DPO).
    """

    loss: Loss[Any]
    """What is normalised."""

    def __post_init__(self) -> None:
        if not self.loss.needs.logps:
            raise ConfigError("length-normalised: loss must be one on log-probabilities, such as dpo")

    @property
    def needs(self) -> Needs:
        """Return what the loss needs."""
        return self.loss.needs

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return those of the loss."""
        return declared_metrics(self.loss)

    def __call__(self, batch: Any) -> LossOutput:
        return call_loss(self.loss, batch.mapped(_per_token))


def _per_token(side: Scored) -> Scored:
    # A completion without tokens has sums of 0, whatever they are divided by.
    length_B = side.policy.lengths_B.clamp(min=1)
    length_T = side.policy.spread(length_B)

    def over(values: Tensor | None, length: Tensor) -> Tensor | None:
        return None if values is None else values / length

    return replace(
        side,
        logps=Logps(side.policy.token_T / length_T, side.policy.lengths_B),
        reference_B=over(side.reference_B, length_B),
        reference_T=over(side.reference_T, length_T),
    )
