"""Binary Classifier Optimization (Jung et al., 2024, https://arxiv.org/abs/2404.04656)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class BCO:
    """
    Train the reward as a classifier of desirable completions against undesirable ones, after shifting it to the middle.

    With `r = log p_policy(y|x) - log p_reference(y|x)` and the shift `delta`, beta times the mean of r over all earlier
    steps, through which no gradient flows:

        desirable:    -log sigmoid(beta * r - delta)
        undesirable:  -log sigmoid(delta - beta * r)

    The paper's delta is the mean of the two labels' mean rewards, tracked by a moving average; here, as in TRL's
    trainer, completions count alike whatever their label, which is the same with as many of each. TRL's mean takes in
    the step itself, so it starts elsewhere than 0. The paper's weights for labels whose prompts differ (underlying
    distribution matching) are left out. Checked against TRL's code and quotations; the paper's text was out of reach.
    """

    needs: ClassVar[Needs] = Needs(reference=True, running_reward=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Binary Classifier Optimization",
        source="Jung et al., ACL 2025, arXiv 2404.04656, without underlying distribution matching",
        reward="beta * (log p_policy(y|x) - log p_reference(y|x))",
        reference_point="mean reward of all earlier steps, desirable or not",
        value="log-sigmoid: concave everywhere",
        use="Thumbs up and down. Unlike KTO it never gives up on an example; an upper bound of DPO on pairs.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 is TRL's default."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"bco: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        # The mean of *earlier* steps, so that a step in micro-batches has one shift.
        margin_B = self.beta * (batch.completions.log_ratio() - batch.reward_so_far())
        right_B = torch.where(batch.desirable_B, margin_B, -margin_B)
        accuracy_B = (right_B.detach() > 0).to(right_B.dtype)
        return LossOutput(per_example=-logsigmoid(right_B), metrics={"accuracy": accuracy_B})
