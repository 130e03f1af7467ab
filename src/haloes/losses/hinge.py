"""The hinge-norm loss of RSO (Liu et al., ICLR 2024, https://arxiv.org/abs/2309.06657)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import relu

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class Hinge:
    """
    DPO with a support vector machine's loss for the logistic one: a pair that is far enough apart is left alone.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (the paper's L_hinge-norm, as TRL's
    documentation restates it; its gamma is beta here):

        max(0, 1 - beta * (r_chosen - r_rejected))

    SLiC's calibration loss on log-ratios ("norm" in the paper) instead of on log-probabilities, and without its
    regulariser. TRL calls it hinge and names SLiC-HF as its source.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Hinge loss on log-ratios (RSO hinge-norm)",
        source="Liu et al., ICLR 2024, arXiv 2309.06657, L_hinge-norm",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="linear up to a margin of 1 / beta, flat from there",
        use="Clean pairs; pairs that the policy already tells apart by 1 / beta nats cost nothing and teach nothing.",
    )

    beta: float = 0.05
    """The margin wanted is 1 / beta nats; 0.05 is what TRL gives as RSO's gamma."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"hinge: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = self.beta * (batch.chosen.log_ratio() - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=relu(1 - margin_B), metrics={"accuracy": accuracy_B})
