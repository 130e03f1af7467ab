"""Presets: losses put together from the parts of `HALO` or from other losses, such as the KTO paper's ablations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from haloes.losses._about import About
from haloes.losses._contract import Loss
from haloes.losses._weights import Weight
from haloes.losses.components import (
    AverageLogp,
    Linear,
    Logistic,
    LogSigmoid,
    MismatchedMeanUnclamped,
    Origin,
    Power,
)
from haloes.losses.dpo import DPO
from haloes.losses.halo import HALO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.mixture import Mixture
from haloes.losses.sft import SFT

_ABLATION = "Ethayarajh et al., ICML 2024, arXiv 2402.01306, Table 2 of the later text"
_RATIO = "log p_policy(y|x) - log p_reference(y|x)"
_MISMATCHED = "mean reward of the step's mismatched completions, not below 0"


@dataclass(frozen=True, slots=True)
class Preset:
    """A loss with a name but no class of its own."""

    make: Callable[..., Loss[Any]]
    """Makes it from its hyperparameters, as keywords; the docstring explains the loss."""
    about: About

    def __call__(self, **settings: Any) -> Loss[Any]:
        """Make the loss with these hyperparameters."""
        return self.make(**settings)


Maker: TypeAlias = type[Any] | Preset
"""What makes a loss from its hyperparameters: its class, or a preset."""


def preset(about: About) -> Callable[[Callable[..., Loss[Any]]], Preset]:
    """Return a decorator that turns a function of hyperparameters, whose docstring explains the loss, into a preset."""
    return lambda make: Preset(make, about)


@preset(
    About(
        title="KTO without a reference point (ablation)",
        source=_ABLATION,
        reward=_RATIO,
        reference_point="none",
        value="logistic: concave in gains, convex in losses",
        use="After SFT on the same data, where z0 is near 0 anyway; a step costs about a third less.",
    )
)
def kto_no_reference_point(
    *, beta: float = 0.1, desirable_weight: Weight = 1.0, undesirable_weight: Weight = 1.0
) -> HALO:
    """
    KTO with the reference point at 0.

        desirable:    w_d * (1 - sigmoid(beta * r))
        undesirable:  w_u * (1 - sigmoid(-beta * r))

    The same as APO-zero. It needs no mismatched completions, so that a step costs about a third less.
    """
    return HALO(
        reference_point=Origin(),
        value=Logistic(beta=beta),
        desirable_weight=desirable_weight,
        undesirable_weight=undesirable_weight,
    )


@preset(
    About(
        title="KTO with a concave value function (ablation)",
        source=_ABLATION,
        reward=_RATIO,
        reference_point=_MISMATCHED,
        value="log-sigmoid: concave everywhere",
        use="To see what risk-seeking in losses is good for: this one keeps pushing at examples that are hopeless.",
    )
)
def kto_concave(*, beta: float = 0.1, desirable_weight: Weight = 1.0, undesirable_weight: Weight = 1.0) -> HALO:
    """
    KTO with DPO's value function, which is concave in losses too: no example is ever given up.

        desirable:    -w_d * log sigmoid(beta * (r - z0))
        undesirable:  -w_u * log sigmoid(beta * (z0 - r))
    """
    return HALO(value=LogSigmoid(beta=beta), desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)


@preset(
    About(
        title="KTO with a risk-neutral value function (ablation)",
        source=_ABLATION,
        reward=_RATIO,
        reference_point=_MISMATCHED,
        value="identity",
        use="To see what a value function is good for: without one the policy can run away from the reference.",
    )
)
def kto_risk_neutral(*, beta: float = 0.1, desirable_weight: Weight = 1.0, undesirable_weight: Weight = 1.0) -> HALO:
    """
    KTO with the identity as its value function: rewards of desirable answers grow, and of others fall, without end.

        desirable:    -w_d * beta * (r - z0)
        undesirable:  -w_u * beta * (z0 - r)
    """
    return HALO(value=Linear(beta=beta), desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)


@preset(
    About(
        title="KTO without a reference model (ablation)",
        source=_ABLATION + "; the authors' code",
        reward="mean log p_policy of a token",
        reference_point="the same of the step's mismatched completions, on average",
        value="logistic: concave in gains, convex in losses",
        use="Full tuning where the reference's memory is not to be had. More sensitive to the weights than KTO.",
    )
)
def kto_reference_free(*, beta: float = 1.0, desirable_weight: Weight = 1.75, undesirable_weight: Weight = 1.0) -> HALO:
    """
    KTO without a reference model, as if every answer were as likely to it.

    Then `r - z0` is log p_policy(y|x) plus the policy's entropy, which the mismatched completions estimate. With
    `a` the mean log-probability of a token, as in the authors' code (their "surprisal" trainer):

        desirable:    w_d * (1 - sigmoid(beta * (a(y|x) - mean a(y'|x))))
        undesirable:  w_u * (1 - sigmoid(beta * (mean a(y'|x) - a(y|x))))

    The paper's lambda_D for it is 1.75; beta is ours, larger than KTO's because a token's mean is smaller than a sum.
    """
    return HALO(
        reward=AverageLogp(),
        reference_point=MismatchedMeanUnclamped(),
        value=Logistic(beta=beta),
        desirable_weight=desirable_weight,
        undesirable_weight=undesirable_weight,
    )


@preset(
    About(
        title="KTO with the Kahneman-Tversky value function",
        source="Ethayarajh et al., ICML 2024, arXiv 2402.01306, eq. 4; Tversky and Kahneman, 1992",
        reward=_RATIO,
        reference_point=_MISMATCHED,
        value="power function: concave in gains, convex and steeper in losses",
        use="To see what the logistic replaced. It does not saturate, and is steepest where training starts.",
    )
)
def kahneman_tversky(
    *,
    alpha: float = 0.88,
    loss_aversion: float = 2.25,
    beta: float = 1.0,
    desirable_weight: Weight = 1.0,
    undesirable_weight: Weight = 1.0,
) -> HALO:
    """
    KTO with the value function that Kahneman and Tversky fitted to people's choices between gambles.

    With the outcome `z`, beta (r - z0) if desirable and beta (z0 - r) if not (eq. 4):

        -w * z^alpha                       for gains, z > 0
        w * loss_aversion * (-z)^alpha     for losses

    The paper took a logistic instead, because this one is hard to optimise: its slope at 0 is infinite. Here outcomes
    are kept 0.001 away from 0.
    """
    return HALO(
        value=Power(alpha=alpha, loss_aversion=loss_aversion, beta=beta),
        desirable_weight=desirable_weight,
        undesirable_weight=undesirable_weight,
    )


@preset(
    About(
        title="Length-normalised DPO",
        source="Lambert et al., 2024, arXiv 2411.15124 (Tülu 3)",
        reward="(log p_policy(y|x) - log p_reference(y|x)) / |y|",
        reference_point="the same of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Pairs whose chosen answers are longer than the rejected ones.",
    )
)
def dpo_length_normalised(*, beta: float = 5.0) -> LengthNormalised:
    """
    DPO on log-ratios per token, as in Tülu 3.

        -log sigmoid(beta * (r_chosen / |y_chosen| - r_rejected / |y_rejected|))
    """
    return LengthNormalised(loss=DPO(beta=beta))


@preset(
    About(
        title="DPO with SFT on the chosen completion",
        source="Pang et al., NeurIPS 2024, arXiv 2404.19733, without its average over tokens",
        reward=_RATIO,
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere, plus the likelihood of the chosen completion",
        use="Pairs, where DPO alone lowers the likelihood of chosen answers too.",
    )
)
def dpo_sft(*, beta: float = 0.1, sft_weight: float = 0.1) -> Mixture:
    """
    DPO with a part of SFT on the chosen completion, which keeps its likelihood from falling.

        -log sigmoid(beta * (r_chosen - r_rejected)) - sft_weight * log p_policy(y_chosen|x)

    The likelihood is summed over tokens; the papers that mix average it.
    """
    return Mixture(losses=(DPO(beta=beta), SFT()), weights=(1.0, sft_weight))


@preset(
    About(
        title="Humanline clamping",
        source="Liu et al., 2025, arXiv 2509.24207, and the authors' code",
        reward="that of the loss inside, on clamped token log-ratios",
        reference_point="that of the loss inside",
        value="that of the loss inside",
        use="Offline data that shall do what online data does; the reference follows the policy.",
    )
)
def humanline(
    *,
    loss: Loss[Any] | None = None,
    log_low: float = -1.0,
    log_high: float = 1.5,
    every: int = 4,
    before_update: bool = False,
) -> Humanline:
    """
    Another loss (KTO, if none is given) on clamped token log-ratios, with a reference that follows the policy.

        clamp(log p_policy - log p_reference, log_low, log_high) of each token, in place of what it is

    Needs `train.reference_cache=false`: what is cached would be of a reference that is no more.
    """
    return Humanline(loss=loss or KTO(), log_low=log_low, log_high=log_high, every=every, before_update=before_update)


@preset(
    About(
        title="Length normalisation",
        source="Lambert et al., 2024, arXiv 2411.15124 (Tülu 3)",
        reward="that of the loss inside, per token",
        reference_point="that of the loss inside, per token",
        value="that of the loss inside",
        use="Any loss on log-probabilities where long answers should not count for more.",
    )
)
def length_normalised(*, loss: Loss[Any] | None = None) -> LengthNormalised:
    """
    Another loss (DPO, if none is given) on log-probabilities per token.

        log p(y|x) / |y| in place of log p(y|x), under the policy and the reference
    """
    return LengthNormalised(loss=loss or DPO(beta=5.0))


@preset(
    About(
        title="Weighted mixture of losses",
        source="Pang et al., NeurIPS 2024, arXiv 2404.19733 (DPO with SFT)",
        reward="those of its parts",
        reference_point="those of its parts",
        value="those of its parts",
        use="Several aims at once, such as DPO with SFT.",
    )
)
def mixture(*, losses: tuple[Loss[Any], ...] | None = None, weights: tuple[float, ...] | None = None) -> Mixture:
    """
    Several losses on one batch, added up with weights; DPO and a tenth of SFT, if none are given.

        sum_k weights[k] * losses[k]
    """
    if losses is None:
        return Mixture(losses=(DPO(), SFT()), weights=weights or (1.0, 0.1))
    return Mixture(losses=losses, weights=weights or (1.0,) * len(losses))


apo_zero = Preset(
    kto_no_reference_point.make,
    About(
        title="Anchored Preference Optimization, zero (unpaired)",
        source="D'Oosterlinck et al., TACL 2025, arXiv 2408.06266",
        reward=_RATIO,
        reference_point="none: rewards are anchored at 0",
        value="logistic: concave in gains, convex in losses",
        use="Good answers that are better than the policy's own. The same formula as KTO with z0 = 0.",
    ),
)
