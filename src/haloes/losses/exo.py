"""Efficient Exact Optimization, on pairs (Ji et al., ICML 2024, https://arxiv.org/abs/2402.00856)."""

from dataclasses import dataclass
from math import inf, log, log1p
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class EXO:
    """
    The reverse of DPO's divergence: that of the preference the policy implies from the human's, smoothed.

    With `r = log p_policy(y|x) - log p_reference(y|x)`, `q = sigmoid(beta * (r_chosen - r_rejected))` and the human's
    preference `1 - e` for the chosen completion, `e = label_smoothing` (eq. 16, two completions):

        q * log(q / (1 - e)) + (1 - q) * log((1 - q) / e)

    KL(policy || human) seeks a mode where DPO's KL(human || policy) covers the mass. The gradient vanishes on a pair
    that the policy ranks utterly wrong. Checked against TRL; the authors' code has `log e = -10` and `log(1 - e) = 0`.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Efficient Exact Optimization (pairs)",
        source="Ji et al., ICML 2024, arXiv 2402.00856, eq. 16",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="minus the KL divergence of the implied preference from the label: sigmoid-like, flat at both ends",
        use="Clean pairs, to find the best answer rather than to cover all good ones.",
    )

    beta: float = 0.1
    """Scale of the log-ratios in the implied preference; 0.1 as in DPO."""
    label_smoothing: float = 0.001
    """The probability given to the rejected completion, which has to be above 0; 0.001 in the paper, after TRL."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"exo: beta must be positive and finite, got {self.beta}")
        if not 0 < 2 * self.label_smoothing < 1:
            raise ConfigError(f"exo: label_smoothing must be above 0 and below 0.5, got {self.label_smoothing}")

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = self.beta * (batch.chosen.log_ratio() - batch.rejected.log_ratio())
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        log_chosen_B, log_rejected_B = logsigmoid(margin_B), logsigmoid(-margin_B)
        # KL(policy's preference || smoothed preference): a term for each way in which the pair may be ordered.
        chosen_B = log_chosen_B.exp() * (log_chosen_B - log1p(-self.label_smoothing))
        rejected_B = log_rejected_B.exp() * (log_rejected_B - log(self.label_smoothing))
        return LossOutput(per_example=chosen_B + rejected_B, metrics={"accuracy": accuracy_B})
