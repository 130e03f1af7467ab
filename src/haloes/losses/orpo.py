"""Odds Ratio Preference Optimization (Hong, Lee, Thorne, EMNLP 2024, https://arxiv.org/abs/2403.07691)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class ORPO:
    """
    Finetune on the chosen completion, and raise its odds above those of the rejected one. No reference model.

    With `a = log p_policy(y|x) / |y|`, the mean log-probability of a completion's tokens, and `log_odds = a -
    log(1 - exp(a))` (eq. 3 to 7; their lambda is `weight`):

        -a_chosen - weight * log sigmoid(log_odds_chosen - log_odds_rejected)

    Checked against TRL and the authors' code. Both average the first term over all tokens of a batch, TRL over those of
    the prompt too.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Odds Ratio Preference Optimization",
        source="Hong, Lee, Thorne, EMNLP 2024, arXiv 2403.07691, eq. 3 to 7",
        reward="the log-odds of the mean token probability, and the mean log-probability itself",
        reference_point="the log-odds of the rejected completion of the same pair",
        value="log-sigmoid of the log odds ratio: concave; identity of the mean log-probability",
        use="Pairs and a base model: finetuning and alignment in one run, without a reference model.",
    )

    weight: float = 0.1
    """lambda, the weight of the odds ratio beside the likelihood; 0.1 is what the authors' code trains Mistral with."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < inf:
            raise ConfigError(f"orpo: weight must be positive and finite, got {self.weight}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B, rejected_B = batch.chosen.policy.average(), batch.rejected.policy.average()
        margin_B = log_odds(chosen_B) - log_odds(rejected_B)
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-chosen_B - self.weight * logsigmoid(margin_B), metrics={"accuracy": accuracy_B})


def log_odds(logp: Tensor) -> Tensor:
    """Return log(p / (1 - p)) from log p; a probability that rounds to 1 counts as the largest below it."""
    # At log p = 0 the odds are infinite, and so is their gradient.
    below = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return below - torch.log(-torch.expm1(below))
