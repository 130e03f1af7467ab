"""Alignment via Optimal Transport, unpaired (Melnyk et al., 2024, https://arxiv.org/abs/2406.05882)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired
from haloes.losses._math import coupling


@dataclass(frozen=True, kw_only=True, slots=True)
class AOTUnpaired:
    """
    Lift every quantile of the desirable rewards above the same quantile of the undesirable ones, over the whole step.

    With `r = log p_policy(y|x) - log p_reference(y|x)` and `Q(t)` the t-quantile of r among a label's completions:

        integral over t in [0, 1] of -log sigmoid(beta * (Q_desirable(t) - Q_undesirable(t)))

    With as many of each label: the mean over i of the i-th smallest of both, as in the paper and in TRL. Otherwise the
    quantile functions are steps of unequal width, coupled piece by piece (1-D optimal transport). Half the cost of a
    piece belongs to either completion, scaled so that the mean over examples is the integral; 0 if a label is absent.
    """

    needs: ClassVar[Needs] = Needs(reference=True, whole_step=True)
    metrics: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[About] = About(
        title="Alignment via Optimal Transport, unpaired",
        source="Melnyk et al., NeurIPS 2024, arXiv 2406.05882; checked against the authors' slides and TRL",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the completion of the other label at the same quantile",
        value="log-sigmoid: concave everywhere",
        use="Thumbs up and down in large steps; compares distributions, so no prompt needs a good and a bad answer.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 is TRL's default."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"aot_unpaired: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        reward_B = batch.completions.log_ratio()
        # Detached: gradients move the rewards, not the matching of completions that the rewards decide.
        share_BB = coupling(reward_B.detach(), batch.desirable_B)
        cost_BB = -share_BB * logsigmoid(self.beta * (reward_B[:, None] - reward_B[None, :]))
        return LossOutput(per_example=len(reward_B) / 2 * (cost_BB.sum(0) + cost_BB.sum(1)))
