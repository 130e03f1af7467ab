"""Offline PPO with dummy rewards (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306; Schulman et al., 2017)."""

from dataclasses import dataclass
from typing import ClassVar

from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired
from haloes.losses._ppo import check_clip, clipped_loss, was_clipped


@dataclass(frozen=True, kw_only=True, slots=True)
class PPO:
    """
    Raise the probability of desirable tokens and lower that of undesirable ones, until their ratio leaves the clip.

    With `q = p_policy / p_reference` of a token and its advantage `A`, +1 in a desirable completion and -1 in an
    undesirable one, averaged over the tokens of each completion (section 3.3 of the KTO paper and its appendix):

        -mean_t min(q A, clip(q, low, high) A)
        desirable:    -mean_t min(q, high)
        undesirable:   mean_t max(q, low)

    The policy of old is the reference, never updated. This is the clipped objective alone, the human-aware loss of the
    paper's Theorem 3.5; `ppo_value` adds its value head and KL penalty. The authors' code (HALOs) averages over all
    tokens of a batch, so that long completions weigh more; its clip is [0.5, 2], or 1 - eps to 1 + eps, by version.
    """

    needs: ClassVar[Needs] = Needs(reference_tokens=True)
    metrics: ClassVar[tuple[str, ...]] = ("clipped",)
    about: ClassVar[About] = About(
        title="Offline PPO-Clip with dummy rewards",
        source="Ethayarajh et al., ICML 2024, arXiv 2402.01306, section 3.3; PPO-Clip: arXiv 1707.06347, eq. 7",
        reward="log p_policy - log p_reference of each token",
        reference_point="0, the log-ratio of an unchanged policy",
        value="ratio, cut off at `high` for desirable tokens and at `low` for undesirable ones",
        use="Thumbs up and down, credited to every token alike. Bad tokens that have grown likely weigh without bound.",
    )

    low: float = 0.25
    """Undesirable tokens teach nothing more once their ratio is below this; 0.25 is the KTO paper's."""
    high: float = 4.0
    """Desirable tokens teach nothing more once their ratio is above this; 4.0 is the KTO paper's."""

    def __post_init__(self) -> None:
        check_clip("ppo", self.low, self.high)

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy, log_ratio_T = batch.completions.policy, batch.completions.token_log_ratio()
        # The dummy reward of the paper: +1 or -1 for every token of the completion, by its label.
        advantage_T = policy.spread(batch.desirable_B * 2.0 - 1).to(log_ratio_T.dtype)
        loss_T = clipped_loss(log_ratio_T, advantage_T, low=self.low, high=self.high)
        clipped_T = was_clipped(log_ratio_T, advantage_T, low=self.low, high=self.high)
        return LossOutput(per_example=policy.averages(loss_T), metrics={"clipped": policy.averages(clipped_T)})
