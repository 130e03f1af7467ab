"""Humanline clamping of any loss on log-ratios (Liu et al., 2025, https://arxiv.org/abs/2509.24207)."""

from dataclasses import dataclass, replace
from math import inf
from typing import Any

from haloes.errors import ConfigError
from haloes.losses._contract import Logps, Loss, LossOutput, Needs, Scored, call_loss, declared_metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class Humanline:
    """
    Another loss on token log-ratios that are clamped, with a reference that follows the policy.

    With `log q_t = log p_policy - log p_reference` of each token, what the loss is given in place of log q_t:

        clamp(log q_t, log_low, log_high)

    Tokens that moved farther teach nothing until the reference is synced. Taken from the authors' code (HALOs,
    `train/trainers.py`: clamp, then sum over tokens; the schedule of the reference is ours unless set, see `every`);
    the paper's own text was out of reach.
    """

    loss: Loss[Any]
    """What is clamped: a loss that compares with a reference."""
    log_low: float = -1.0
    """Lower bound of a token's log-ratio (log epsilon_P); -1 in the authors' `config.yaml`."""
    log_high: float = 1.5
    """Upper bound (log epsilon_R); 1.5 there as well."""
    every: int = 4
    """The reference becomes the policy every so many steps; ours. The authors' code does so in every step, before its
    update: `every` 1 with `before_update`."""
    before_update: bool = False
    """Whether the reference becomes the policy before the step's update, so that it stays one step behind, as in the
    authors' code; or after it (ours), where with `every` 1 no token would ever be clamped."""

    def __post_init__(self) -> None:
        if not -inf < self.log_low < 0 < self.log_high < inf:
            raise ConfigError(
                f"humanline: needs log_low < 0 < log_high, both finite, got {self.log_low} and {self.log_high}"
            )
        if self.every < 1:
            raise ConfigError(f"humanline: every must be at least 1, got {self.every}")
        if not self.loss.needs.any_reference:
            raise ConfigError("humanline: loss must be one that compares with a reference, such as kto or dpo")

    @property
    def needs(self) -> Needs:
        """Return what the loss needs, and token log-probabilities of a reference that is synced."""
        return replace(
            self.loss.needs, reference_tokens=True, sync_every=self.every, sync_before_update=self.before_update
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return those of the loss."""
        return declared_metrics(self.loss)

    def __call__(self, batch: Any) -> LossOutput:
        return call_loss(self.loss, batch.mapped(self._clamped))

    def _clamped(self, side: Scored) -> Scored:
        ratio_T = side.token_log_ratio()
        reference_T = (side.policy.token_T - ratio_T).detach()
        # The clamped ratio is carried by the policy's part: the loss inside subtracts the same reference again.
        clamped = Logps(ratio_T.clamp(self.log_low, self.log_high) + reference_T, side.policy.lengths_B)
        return replace(side, logps=clamped)
