"""Unified Alignment on binary feedback (Wang et al., 2024, https://arxiv.org/abs/2408.15339)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class UNA:
    """
    Fit the implied reward, as a probability, to the label: 1 for desirable completions and 0 for undesirable ones.

    With `r = log p_policy(y|x) - log p_reference(y|x)`, binary cross entropy:

        desirable:    -log sigmoid(beta * r)
        undesirable:  -log(1 - sigmoid(beta * r))

    It is BCO without the shift. The paper leaves the distance between implied and given reward open; this is its
    "binary, BCE", taken from the authors' code (ZhichaoWang970201/UNA-UFT), and `una_score` its squared error.
    """

    needs: ClassVar[Needs] = Needs(reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Unified Alignment, binary feedback with cross entropy",
        source="Wang et al., 2024, arXiv 2408.15339, and the authors' code",
        reward="beta * (log p_policy(y|x) - log p_reference(y|x))",
        reference_point="none",
        value="log-sigmoid: concave everywhere",
        use="Thumbs up and down, the plainest form: no reference point, no state, nothing shared between examples.",
    )

    beta: float = 0.01
    """How strongly the policy is held to the reference; 0.01 in the authors' runs with this loss."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"una: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        reward_B = self.beta * batch.completions.log_ratio()
        right_B = torch.where(batch.desirable_B, reward_B, -reward_B)
        accuracy_B = (right_B.detach() > 0).to(right_B.dtype)
        return LossOutput(per_example=-logsigmoid(right_B), metrics={"accuracy": accuracy_B})
