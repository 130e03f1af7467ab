"""f-DPO with the forward KL divergence (Wang et al., ICLR 2024, https://arxiv.org/abs/2309.16240)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired
from haloes.losses._math import expm1_then_tangent


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardKLDPO:
    """
    DPO for a policy that is held to the reference by KL(reference || policy) rather than KL(policy || reference).

    With `u = p_policy(y|x) / p_reference(y|x)` and the derivative `f'(u) = -1 / u` of the divergence's f
    (the paper's table, read in a public restatement of it; checked against TRL):

        -log sigmoid(beta * (1 / u_rejected - 1 / u_chosen))

    Covers the reference's mass: what the reference says must stay possible. For u below e^-30, 1 / u goes on as its
    tangent in log u, so that loss and gradient stay finite.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="f-DPO, forward KL",
        source="Wang et al., ICLR 2024, arXiv 2309.16240, table of f-divergences",
        reward="-p_reference(y|x) / p_policy(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Clean pairs, for diverse answers; its gradients explode on completions that the policy has given up.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 as in DPO."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"f_dpo_forward_kl: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        # f'(u) = -1 / u = -exp(-r); the 1 that expm1 adds to it cancels within the pair.
        chosen_B = -expm1_then_tangent(-batch.chosen.log_ratio())
        rejected_B = -expm1_then_tangent(-batch.rejected.log_ratio())
        margin_B = self.beta * (chosen_B - rejected_B)
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B), metrics={"accuracy": accuracy_B})
