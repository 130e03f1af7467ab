"""Supervised finetuning: maximum likelihood (as in Ouyang et al., 2022, https://arxiv.org/abs/2203.02155, step 1)."""

from dataclasses import dataclass
from typing import ClassVar

from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class SFT:
    """
    Raise the likelihood of desirable completions, summed over their tokens.

        -log p_policy(y|x)

    Not a human-aware loss: it has neither reference point nor value function, and undesirable completions are not used.
    Trainers that average over tokens instead give long completions the same say per token and less per example; the
    per-token average is logged as `nll_per_token`.
    """

    needs: ClassVar[Needs] = Needs(undesirable=False)
    metrics: ClassVar[tuple[str, ...]] = ("nll_per_token",)
    about: ClassVar[About] = About(
        title="Supervised finetuning",
        source="Ouyang et al., NeurIPS 2022, arXiv 2203.02155, step 1",
        reward="log p_policy(y|x)",
        reference_point="none",
        value="identity",
        use="Before an alignment loss, when the model has not seen such answers yet; the baseline to beat.",
    )

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy = batch.completions.policy
        return LossOutput(per_example=-policy.total(), metrics={"nll_per_token": -policy.average().detach()})
