"""f-DPO with the Jensen-Shannon divergence (Wang et al., ICLR 2024, https://arxiv.org/abs/2309.16240)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class JensenShannonDPO:
    """
    DPO for a policy that is held to the reference by the Jensen-Shannon divergence.

    With `u = p_policy(y|x) / p_reference(y|x)` and the derivative `f'(u) = log(2 u / (1 + u))` of the divergence's f
    (the paper's table, read in a public restatement of it; checked against TRL):

        -log sigmoid(beta * (f'(u_chosen) - f'(u_rejected)))

    f' is at most log 2: making the chosen completion ever likelier is not rewarded, only the other's fall is.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="f-DPO, Jensen-Shannon",
        source="Wang et al., ICLR 2024, arXiv 2309.16240, table of f-divergences",
        reward="log of 2 u / (1 + u), with u = p_policy(y|x) / p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Clean pairs; between DPO (reverse KL) and forward KL in how diverse answers stay.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 as in DPO."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"f_dpo_jensen_shannon: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        # With r = log u, log(u / (1 + u)) is log sigmoid(r); log 2 cancels.
        margin_B = self.beta * (logsigmoid(batch.chosen.log_ratio()) - logsigmoid(batch.rejected.log_ratio()))
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=-logsigmoid(margin_B), metrics={"accuracy": accuracy_B})
