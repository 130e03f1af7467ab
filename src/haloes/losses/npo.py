"""Negative Preference Optimization (Zhang et al., 2024, https://arxiv.org/abs/2404.05868)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class NPO:
    """
    Unlearn undesirable completions by DPO's losing half alone, and retain desirable ones by their likelihood.

    With `r = log p_policy(y|x) - log p_reference(y|x)`:

        desirable:    -retain_weight * log p_policy(y|x)
        undesirable:  -(2 / beta) * log sigmoid(-beta * r)

    NPO itself is the second line; the paper's NPO+RT, the setting of its experiments and the default here, adds the
    first. As beta goes to 0 the gradient of the second line becomes that of likelihood, with the sign turned. The
    authors' code averages the retained likelihood over tokens; here it is their sum, as in `sft`.
    """

    needs: ClassVar[Needs] = Needs(reference=True)
    metrics: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[About] = About(
        title="Negative Preference Optimization",
        source="Zhang et al., COLM 2024, arXiv 2404.05868; formula as in the authors' code",
        reward="log p_policy(y|x) - log p_reference(y|x) of undesirable completions",
        reference_point="none",
        value="log-sigmoid, of undesirable completions alone",
        use="Mostly bad answers, or answers to be forgotten; keeps from the collapse of turned-around likelihood.",
    )

    beta: float = 0.1
    """How soon an unlearned answer is left alone: the gradient fades once r is some -1 / beta; 0.1 is the paper's."""
    retain_weight: float = 1.0
    """Weight of desirable completions; 1 is the paper's NPO+RT. At 0, its NPO, they are read but teach nothing."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"npo: beta must be positive and finite, got {self.beta}")
        if not 0 <= self.retain_weight < inf:
            raise ConfigError(f"npo: retain_weight must be a finite number of at least 0, got {self.retain_weight}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        # Its gradient fades as r falls: an answer that is unlearned already is left alone, unlike with -log p.
        unlearn_B = -2 / self.beta * logsigmoid(-self.beta * batch.completions.log_ratio())
        retain_B = -self.retain_weight * batch.completions.policy.total()
        return LossOutput(per_example=torch.where(batch.desirable_B, retain_B, unlearn_B))
