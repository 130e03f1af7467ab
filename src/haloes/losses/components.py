"""
The parts of a human-aware loss: a reward, a reference point, a value function (KTO paper, sections 3.1 and 3.2).

Each is a small frozen value, with the text by which it is explained. Shape suffix K: the outcomes of the completions
that are judged, end to end; a completion is one outcome, or one for each of its tokens.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._contract import Logps, Needs, Paired, Scored, Unpaired
from haloes.losses._math import clamped_mean


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The rewards of B completions."""

    value_K: Tensor
    count_B: Tensor
    """The number of the K outcomes that belong to each completion."""

    def per_completion(self, values_K: Tensor) -> Tensor:
        """Average values at the outcomes, (K,), by completion, (B,)."""
        return Logps(values_K, self.count_B).averages(values_K)

    def spread(self, values_B: Tensor) -> Tensor:
        """Repeat a value of each completion, (B,), at all of its outcomes, (K,)."""
        return values_B.repeat_interleave(self.count_B)


def _one_each(value_B: Tensor) -> Outcomes:
    return Outcomes(value_B, torch.ones(len(value_B), dtype=torch.int64, device=value_B.device))


class Reward(Protocol):
    """A reward: the worth of a completion to who judges it."""

    needs: ClassVar[Needs]
    text: ClassVar[str]

    def __call__(self, completions: Scored) -> Outcomes:
        """Return the rewards of these completions."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LogRatio:
    """The implied reward of DPO and KTO: the log-ratio of the whole completion to the reference."""

    needs: ClassVar[Needs] = Needs(reference=True)
    text: ClassVar[str] = "log p_policy(y|x) - log p_reference(y|x)"

    def __call__(self, completions: Scored) -> Outcomes:
        return _one_each(completions.log_ratio())


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogRatio:
    """PPO's reward: each token is an outcome, with its log-ratio as the reward."""

    needs: ClassVar[Needs] = Needs(reference_tokens=True)
    text: ClassVar[str] = "log p_policy - log p_reference of each token"

    def __call__(self, completions: Scored) -> Outcomes:
        return Outcomes(completions.token_log_ratio(), completions.policy.lengths_B)


@dataclass(frozen=True, kw_only=True, slots=True)
class AverageLogp:
    """Without a reference: the mean log-probability of a token, as if every answer were as likely to the reference."""

    needs: ClassVar[Needs] = Needs()
    text: ClassVar[str] = "mean log p_policy of a token"

    def __call__(self, completions: Scored) -> Outcomes:
        return _one_each(completions.policy.average())


class ReferencePoint(Protocol):
    """A reference point: what outcomes are compared with."""

    needs: ClassVar[Needs]
    text: ClassVar[str]

    def __call__(self, batch: Any, reward: Reward) -> tuple[Outcomes, Tensor]:
        """
        Return the rewards of what is judged, less the reference point; and which completions are desirable, bool (B,).

        The batch is one of pairs or of single completions, as its needs say.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """No reference point: rewards are compared with 0."""

    needs: ClassVar[Needs] = Needs()
    text: ClassVar[str] = "none"

    def __call__(self, batch: Unpaired, reward: Reward) -> tuple[Outcomes, Tensor]:
        return reward(batch.completions), batch.desirable_B


@dataclass(frozen=True, kw_only=True, slots=True)
class MismatchedMean:
    """KTO's z0: the mean reward of the step's mismatched completions, clamped at 0, without gradient."""

    needs: ClassVar[Needs] = Needs(mismatched=True)
    text: ClassVar[str] = "mean reward of the step's mismatched completions, not below 0"

    def __call__(self, batch: Unpaired, reward: Reward) -> tuple[Outcomes, Tensor]:
        rewards = reward(batch.completions)
        point = clamped_mean(_per_completion(reward(batch.others())))
        return Outcomes(rewards.value_K - point, rewards.count_B), batch.desirable_B


@dataclass(frozen=True, kw_only=True, slots=True)
class MismatchedMeanUnclamped:
    """The mean without a clamp, for rewards that are log-probabilities, never above 0: minus the estimated entropy."""

    needs: ClassVar[Needs] = Needs(mismatched=True)
    text: ClassVar[str] = "mean reward of the step's mismatched completions"

    def __call__(self, batch: Unpaired, reward: Reward) -> tuple[Outcomes, Tensor]:
        rewards = reward(batch.completions)
        point = _per_completion(reward(batch.others())).detach().mean()
        return Outcomes(rewards.value_K - point, rewards.count_B), batch.desirable_B


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedReward:
    """DPO's reference point: the reward of the rejected completion of the same pair; the chosen one is judged."""

    needs: ClassVar[Needs] = Needs(pairs=True)
    text: ClassVar[str] = "the reward of the rejected completion of the same pair"

    def __call__(self, batch: Paired, reward: Reward) -> tuple[Outcomes, Tensor]:
        chosen, rejected = reward(batch.chosen), reward(batch.rejected)
        # The chosen completion is what is judged; the rejected one has a gradient as its reference point.
        margin = Outcomes(chosen.value_K - rejected.value_K, chosen.count_B)
        return margin, torch.ones_like(chosen.count_B, dtype=torch.bool)


class Value(Protocol):
    """A value function: what an outcome means to a human who finds the answer desirable, or not."""

    best: ClassVar[float]
    """The value that none is above; 0 where there is no bound."""
    text: ClassVar[str]

    def __call__(self, outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
        """Return the value of each outcome, (K,): of its reward less the reference point."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic:
    """KTO's value function: concave in gains and convex in losses like Kahneman and Tversky's, but easy to optimise."""

    best: ClassVar[float] = 1.0
    text: ClassVar[str] = "sigmoid(beta z): concave in gains, convex in losses"

    beta: float = 0.1
    """How quickly it saturates; 0.1 as in KTO."""

    def __post_init__(self) -> None:
        _positive("logistic", beta=self.beta)

    def __call__(self, outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
        return torch.sigmoid(self.beta * _toward(outcome_K, desirable_K))


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSigmoid:
    """DPO's value function, concave in gains and in losses."""

    best: ClassVar[float] = 0.0
    text: ClassVar[str] = "log sigmoid(beta z): concave everywhere"

    beta: float = 0.1
    """How quickly it saturates in gains; 0.1 as in DPO."""

    def __post_init__(self) -> None:
        _positive("log-sigmoid", beta=self.beta)

    def __call__(self, outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
        return logsigmoid(self.beta * _toward(outcome_K, desirable_K))


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """The risk-neutral value function: every nat is worth the same."""

    best: ClassVar[float] = 0.0
    text: ClassVar[str] = "beta z: risk-neutral"

    beta: float = 0.1
    """The worth of a nat; 0.1 gives the slope that a logistic with the same beta has at most four times over."""

    def __post_init__(self) -> None:
        _positive("linear", beta=self.beta)

    def __call__(self, outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
        return self.beta * _toward(outcome_K, desirable_K)


@dataclass(frozen=True, kw_only=True, slots=True)
class Power:
    """
    Kahneman and Tversky's value function (KTO paper, eq. 4), with the medians that they found.

    Its slope at 0 is infinite, which is where training starts: outcomes are moved away from 0 by `SOFT`.
    """

    SOFT: ClassVar[float] = 1e-3
    best: ClassVar[float] = 0.0
    text: ClassVar[str] = "z^alpha for gains, -loss_aversion (-z)^alpha for losses"

    alpha: float = 0.88
    """Curvature; 1 is risk-neutral. 0.88 is the median of Tversky and Kahneman (1992)."""
    loss_aversion: float = 2.25
    """By how much a loss weighs more than a gain; 2.25 is their median."""
    beta: float = 1.0
    """The unit of the outcome, in 1/nat."""

    def __post_init__(self) -> None:
        _positive("power", alpha=self.alpha, loss_aversion=self.loss_aversion, beta=self.beta)
        if self.alpha > 1:
            raise ConfigError(f"power: alpha must be at most 1, lest gains be convex, got {self.alpha}")

    def __call__(self, outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
        z_K = self.beta * _toward(outcome_K, desirable_K)
        gain_K = z_K > 0
        # Not abs(): its gradient at 0 is 0, and every outcome of the first step may be 0.
        size_K = (torch.where(gain_K, z_K, -z_K) + self.SOFT) ** self.alpha - self.SOFT**self.alpha
        return torch.where(gain_K, size_K, -self.loss_aversion * size_K)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClippedRatio:
    """PPO-Clip's value function: the ratio itself, as far as the clip (KTO paper v1, appendix A)."""

    best: ClassVar[float] = 0.0
    text: ClassVar[str] = "exp z, cut off at `high` for desirable tokens and at `low` for undesirable ones"

    low: float = 0.25
    """Undesirable tokens teach nothing more below this ratio; 0.25 is the KTO paper's."""
    high: float = 4.0
    """Desirable tokens teach nothing more above this ratio; 4.0 is the KTO paper's."""

    def __post_init__(self) -> None:
        if not 0 <= self.low < 1 < self.high < inf:
            raise ConfigError(
                f"clipped-ratio: needs 0 <= low < 1 < high, both finite, got low {self.low} and high {self.high}"
            )

    def __call__(self, outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
        ratio_K = outcome_K.clamp(max=20.0).exp()  # a bound far beyond any clip, lest exp overflow
        return torch.where(desirable_K, ratio_K.clamp(max=self.high), -ratio_K.clamp(min=self.low))


COMPONENTS: dict[Any, dict[str, type[Any]]] = {
    Reward: {"log-ratio": LogRatio, "token-log-ratio": TokenLogRatio, "average-logp": AverageLogp},
    ReferencePoint: {
        "origin": Origin,
        "mismatched-mean": MismatchedMean,
        "mismatched-mean-unclamped": MismatchedMeanUnclamped,
        "rejected-reward": RejectedReward,
    },
    Value: {
        "logistic": Logistic,
        "log-sigmoid": LogSigmoid,
        "linear": Linear,
        "power": Power,
        "clipped-ratio": ClippedRatio,
    },
}
"""Rewards, reference points and value functions, each by name."""

PARTS: dict[str, type[Any]] = {name: cls for positions in COMPONENTS.values() for name, cls in positions.items()}
"""All of them by name."""


def _toward(outcome_K: Tensor, desirable_K: Tensor) -> Tensor:
    """Turn the outcomes of undesirable answers around: what raises their reward is a loss to the human (eq. 8)."""
    return torch.where(desirable_K, outcome_K, -outcome_K)


def _per_completion(rewards: Outcomes) -> Tensor:
    return rewards.per_completion(rewards.value_K)


def _positive(name: str, **values: float) -> None:
    for field, value in values.items():
        if not 0 < value < inf:
            raise ConfigError(f"{name}: {field} must be positive and finite, got {value}")
