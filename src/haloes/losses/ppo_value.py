"""Offline PPO with a value head (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306, appendix)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired
from haloes.losses._ppo import check_clip, check_ranges, clipped_loss, estimates


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOValue:
    """
    Offline PPO that credits each token by a value head's estimates of a reward of +1 or -1 at the last token.

    With `q = p_policy / p_reference` of a token, `V` the head's estimate before it, `R` the reward (0 before the last
    token) and `A`, without gradient, its generalized advantage, averaged over the tokens of each completion:

        mean_t [-min(q A, clip(q, low, high) A) + critic_coef (V - G)^2 - kl_coef log q]
        A_t = sum_k (gamma trace_decay)^k (R_{t+k} + gamma V_{t+k+1} - V_{t+k}),  G_t = sum_k gamma^k R_{t+k}

    The KL penalty, of KL(reference || policy), is the paper's mean difference of the tokens' log-probabilities. The
    authors' code (HALOs) also whitens A over the batch, averages over all of its tokens, halves (V - G)^2 and leaves a
    token's own reward out of G; its later versions turn the sign of the penalty.
    """

    needs: ClassVar[Needs] = Needs(reference_tokens=True, values=True)
    metrics: ClassVar[tuple[str, ...]] = ("critic_error",)
    about: ClassVar[About] = About(
        title="Offline PPO-Clip with a value head",
        source="Ethayarajh et al., ICML 2024, arXiv 2402.01306, appendix; details from ContextualAI/HALOs",
        reward="log p_policy - log p_reference of each token",
        reference_point="0, the log-ratio of an unchanged policy",
        value="ratio times estimated advantage, cut off at `high` or `low`",
        use="The paper's offline PPO in full: credit by token instead of one sign for the whole answer.",
    )

    low: float = 0.25
    """Tokens of negative advantage teach nothing more once their ratio is below this; the KTO paper's."""
    high: float = 4.0
    """Tokens of positive advantage teach nothing more once their ratio is above this; the KTO paper's."""
    gamma: float = 0.99
    """Discount a token; like the three below, from the authors' configuration."""
    trace_decay: float = 0.95
    """The lambda of generalized advantage estimation: 0 trusts the estimates entirely, 1 not at all."""
    critic_coef: float = 0.01
    """Weight of the value head's squared error, which trains the head alone."""
    kl_coef: float = 0.1
    """Weight of the KL penalty, which holds up the probability of desirable and undesirable tokens alike."""

    def __post_init__(self) -> None:
        check_clip("ppo_value", self.low, self.high)
        check_ranges("ppo_value", most=1, gamma=self.gamma, trace_decay=self.trace_decay)
        check_ranges("ppo_value", most=inf, critic_coef=self.critic_coef, kl_coef=self.kl_coef)

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy, ratio_T = batch.completions.policy, batch.completions.token_log_ratio()
        value_T, sign_T = batch.completions.value(), policy.spread(batch.desirable_B * 2.0 - 1).to(ratio_T.dtype)
        advantage_T, return_T = estimates(policy, sign_T, value_T, gamma=self.gamma, trace_decay=self.trace_decay)
        error_T = (value_T - return_T) ** 2
        loss_T = clipped_loss(ratio_T, advantage_T, low=self.low, high=self.high)
        # The squared error trains the head alone: its values are computed from detached hidden states.
        loss_B = policy.averages(loss_T + self.critic_coef * error_T - self.kl_coef * ratio_T)
        return LossOutput(per_example=loss_B, metrics={"critic_error": policy.averages(error_T.detach())})
