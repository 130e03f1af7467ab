"""Conservative DPO (Mitchell, 2023, "A note on DPO with noisy preferences", https://ericmitchell.ai/cdpo.pdf)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class CDPO:
    """
    DPO with smoothed labels: each preference is taken to be wrong with some probability.

    With `r = log p_policy(y|x) - log p_reference(y|x)`, `margin = beta * (r_chosen - r_rejected)` and the probability
    `e = label_smoothing` that a label is flipped (eq. 3 of the note, checked against the DPO authors' own code):

        -(1 - e) * log sigmoid(margin) - e * log sigmoid(-margin)

    It is least at `sigmoid(margin) = 1 - e`, so the margin stays finite. Without smoothing it is DPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Conservative DPO",
        source="Mitchell, 2023, https://ericmitchell.ai/cdpo.pdf, eq. 3",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid, mixed with its mirror image: falls again beyond the margin that the noise allows",
        use="Pairs of which a known share is labelled the wrong way round; keeps the margin from growing without end.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 is the default of DPO's paper."""
    label_smoothing: float = 0.1
    """The probability that a preference is flipped, below 1/2. It depends on the data; 0.1 is a common choice."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"cdpo: beta must be positive and finite, got {self.beta}")
        if not 0 <= 2 * self.label_smoothing < 1:
            raise ConfigError(f"cdpo: label_smoothing must be at least 0 and below 0.5, got {self.label_smoothing}")

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = self.beta * (batch.chosen.log_ratio() - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        flipped = self.label_smoothing
        # Cross entropy with the smoothed preference, so that even the surest pair has a finite best margin.
        loss_B = -(1 - flipped) * logsigmoid(margin_B) - flipped * logsigmoid(-margin_B)
        return LossOutput(per_example=loss_B, metrics={"accuracy": accuracy_B})
