"""Sequence Likelihood Calibration, SLiC-HF (Zhao et al., 2023, https://arxiv.org/abs/2305.10425)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import relu

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class SLiC:
    """
    Make the chosen completion likelier than the rejected one by some nats, and likely in itself.

    With `l = log p_policy(y|x)`, as the KTO paper restates it (section 3.3), where the target of the regularising cross
    entropy is the finetuning data rather than a sample of the reference; here that target is the chosen completion:

        max(0, delta - l_chosen + l_rejected) - regularization * l_chosen

    Not a human-aware loss: it has no reference model, and its regulariser no value function. Checked against the KTO
    authors' code; that adds the cross entropy per token where this, like its formula, takes the sum.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Sequence Likelihood Calibration (SLiC-HF)",
        source="Zhao et al. 2023, arXiv 2305.10425; restated in arXiv 2402.01306, section 3.3",
        reward="log p_policy(y|x)",
        reference_point="the log-probability of the rejected completion of the same pair",
        value="linear up to a margin of delta, flat from there; beside it the chosen completion's log-probability",
        use="Pairs, when a reference model does not fit into memory; a baseline of the KTO paper.",
    )

    delta: float = 1.0
    """How much likelier the chosen completion should be, in nats; 1.0 in the KTO authors' code."""
    regularization: float = 0.1
    """lambda_reg, the weight of the cross entropy; 0.1 in the KTO authors' code. 0 leaves the calibration alone."""

    def __post_init__(self) -> None:
        if not 0 < self.delta < inf:
            raise ConfigError(f"slic: delta must be positive and finite, got {self.delta}")
        if not 0 <= self.regularization < inf:
            raise ConfigError(f"slic: regularization must be at least 0 and finite, got {self.regularization}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = batch.chosen.policy.total()
        margin_B = chosen_B - batch.rejected.policy.total()
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        # Sums over tokens: delta is a distance between whole completions, in nats.
        loss_B = relu(self.delta - margin_B) - self.regularization * chosen_B
        return LossOutput(per_example=loss_B, metrics={"accuracy": accuracy_B})
