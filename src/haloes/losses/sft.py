"""Supervised finetuning: maximum likelihood (as in Ouyang et al., 2022, https://arxiv.org/abs/2203.02155, step 1)."""

from dataclasses import dataclass
from typing import ClassVar

from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class SFT:
    """
    The negative log-likelihood of the completion, summed over its tokens: `-log p_policy(y|x)`.

    Not a human-aware loss: it has neither reference point nor value function, and undesirable completions are not used.
    Trainers that average over tokens instead give long completions the same say per token and less per example; the
    per-token average is logged as `nll_per_token`.
    """

    needs: ClassVar[Needs] = Needs(undesirable=False)

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy = batch.completions.policy
        return LossOutput(per_example=-policy.total(), metrics={"nll_per_token": -policy.average().detach()})
