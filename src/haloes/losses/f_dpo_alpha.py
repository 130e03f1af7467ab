"""f-DPO with an alpha-divergence (Wang et al., ICLR 2024, https://arxiv.org/abs/2309.16240)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired
from haloes.losses._math import expm1_then_tangent


@dataclass(frozen=True, kw_only=True, slots=True)
class AlphaDivergenceDPO:
    """
    DPO for a policy that is held to the reference by an alpha-divergence.

    With `u = p_policy(y|x) / p_reference(y|x)` and `f'(u) = (1 - u ** -alpha) / alpha` (the paper's table,
    read in a public restatement of it; checked against TRL):

        -log sigmoid(beta * (f'(u_chosen) - f'(u_rejected)))

    Alpha towards 0 is DPO, towards 1 forward KL. TRL's `f_alpha_divergence_coef` is 1 - alpha. For u ** alpha below
    e^-30, f' goes on as its tangent in log u, so that loss and gradient stay finite.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="f-DPO, alpha-divergence",
        source="Wang et al., ICLR 2024, arXiv 2309.16240, table of f-divergences",
        reward="(1 - u ** -alpha) / alpha, with u = p_policy(y|x) / p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Clean pairs, to choose a place between DPO (fit) and forward KL (diversity).",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 as in DPO."""
    alpha: float = 0.5
    """Between reverse KL (0) and forward KL (1), both excluded; 0.5 is half-way, and TRL's default."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"f_dpo_alpha: beta must be positive and finite, got {self.beta}")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"f_dpo_alpha: alpha must be between 0 and 1, both excluded, got {self.alpha}")

    def __call__(self, batch: Paired) -> LossOutput:
        # alpha f'(u) = 1 - u^-alpha = -expm1(-alpha r), without the cancellation near u = 1.
        chosen_B = -expm1_then_tangent(-self.alpha * batch.chosen.log_ratio())
        rejected_B = -expm1_then_tangent(-self.alpha * batch.rejected.log_ratio())
        margin_B = self.beta / self.alpha * (chosen_B - rejected_B)
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B), metrics={"accuracy": accuracy_B})
