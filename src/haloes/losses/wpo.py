"""Weighted Preference Optimization (Zhou et al., EMNLP 2024, https://arxiv.org/abs/2406.11827)."""

from dataclasses import dataclass
from math import inf, log
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired, Scored


@dataclass(frozen=True, kw_only=True, slots=True)
class WPO:
    """
    DPO in which a pair counts the more, the likelier the policy would have written both completions itself.

    With `r = log p_policy(y|x) - log p_reference(y|x)` and, under the policy and without gradient, the weight of a
    completion `w = exp(mean over its tokens of log p(y_t) - log sum_v p(v)^2)`, about 1 for one of the policy's own:

        -min(cap, w(chosen) * w(rejected)) * log sigmoid(beta * (r_chosen - r_rejected))

    Checked against the authors' code and TRL's. The cap of 1 is in the former, not in eq. 2; TRL 1.16 has none.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, collision=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "weight")
    about: ClassVar[About] = About(
        title="Weighted Preference Optimization",
        source="Zhou et al., EMNLP 2024, arXiv 2406.11827, eq. 2; the authors' code",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid, times a weight of the pair",
        use="Pairs written by other models than the policy.",
    )

    beta: float = 0.1
    """How strongly the policy is held to the reference; 0.1 as in DPO."""
    cap: float = 1.0
    """The largest weight of a pair; 1 in the authors' code. A large number, such as 1e9, leaves eq. 2 as it is."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"wpo: beta must be positive and finite, got {self.beta}")
        if not 0 < self.cap < inf:
            raise ConfigError(f"wpo: cap must be positive and finite, got {self.cap}")

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = self.beta * (batch.chosen.log_ratio() - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        weight_B = (log_weight(batch.chosen) + log_weight(batch.rejected)).clamp(max=log(self.cap)).exp()
        metrics = {"accuracy": accuracy_B, "weight": weight_B}
        return LossOutput(per_example=-weight_B * logsigmoid(margin_B), metrics=metrics)


def log_weight(side: Scored) -> Tensor:
    """Return log w of each completion, (B,), without gradient."""
    return side.policy.averages(side.policy.token_T.detach() - side.collision())
