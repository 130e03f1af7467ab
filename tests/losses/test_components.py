"""The three dials: rewards, reference points and value functions, against sums done by hand."""

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest
import torch
from torch import Tensor

from haloes.errors import ConfigError
from haloes.losses import components as dials
from haloes.losses._contract import Needs, Paired, Scored, Unpaired
from loss_batches import scored, side_of

ALL = Needs(reference=True, reference_tokens=True)


def sides(*completions: tuple[list[float], list[float]]) -> Scored:
    """Completions from the log-probabilities of their tokens, under the policy and under the reference."""
    return scored([side_of(policy, reference) for policy, reference in completions], ALL)


def two() -> Scored:
    """Log-ratios: 2 and -1 of the first's tokens, 0.5 of the second's."""
    return sides(([-1.0, -2.0], [-3.0, -1.0]), ([-4.0], [-4.5]))


def values(value: dials.Value, outcomes: list[float], *, desirable: bool) -> list[float]:
    outcome_K = torch.tensor(outcomes, dtype=torch.float64)
    found: list[float] = value(outcome_K, torch.full_like(outcome_K, desirable, dtype=torch.bool)).tolist()
    return found


# -- rewards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reward", "rewards", "counts"),
    [
        (dials.LogRatio(), [1.0, 0.5], [1, 1]),
        (dials.TokenLogRatio(), [2.0, -1.0, 0.5], [2, 1]),
        (dials.AverageLogp(), [-1.5, -4.0], [1, 1]),
    ],
    ids=lambda part: type(part).__name__,
)
def test_rewards_are_log_ratios_of_completions_or_tokens_or_mean_log_probabilities(
    reward: dials.Reward, rewards: list[float], counts: list[int]
) -> None:
    found = reward(two())

    assert found.value_K.tolist() == rewards
    assert found.count_B.tolist() == counts


def test_outcomes_are_averaged_by_completion_and_a_completions_value_is_given_to_all_of_its_outcomes() -> None:
    found = dials.TokenLogRatio()(two())

    assert found.per_completion(found.value_K).tolist() == [0.5, 0.5]
    assert found.spread(torch.tensor([True, False])).tolist() == [True, True, False]


@pytest.mark.parametrize("reward", [dials.LogRatio(), dials.TokenLogRatio(), dials.AverageLogp()], ids=str)
def test_a_reward_needs_what_it_says(reward: dials.Reward) -> None:
    completions = scored([side_of([-1.0, -2.0], [-3.0, -1.0])], reward.needs)

    assert bool(reward(completions).value_K.isfinite().all())


# -- reference points ------------------------------------------------------------------------------------------------


def unpaired(mismatched: Scored | None = None) -> Unpaired:
    return Unpaired(two(), torch.tensor([True, False]), mismatched=mismatched)


def test_the_origin_changes_no_reward() -> None:
    outcomes, desirable = dials.Origin()(unpaired(), dials.LogRatio())

    assert outcomes.value_K.tolist() == [1.0, 0.5]
    assert desirable.tolist() == [True, False]


@pytest.mark.parametrize(("ratios", "point"), [((3.0, 1.0), 2.0), ((-3.0, 1.0), 0.0), ((-1.0, 4.0), 1.5)])
def test_the_mismatched_mean_is_clamped_at_zero_after_averaging(ratios: tuple[float, float], point: float) -> None:
    others = sides(*(([-5.0 + ratio], [-5.0]) for ratio in ratios))

    outcomes, desirable = dials.MismatchedMean()(unpaired(others), dials.LogRatio())

    assert outcomes.value_K.tolist() == [1.0 - point, 0.5 - point]
    assert desirable.tolist() == [True, False]


def test_the_unclamped_mean_may_lie_below_zero() -> None:
    # Mean log-probabilities of a token: -2 and -5, which are -3.5 on average.
    others = sides(([-1.0, -3.0], [-9.0, -9.0]), ([-5.0], [-9.0]))

    outcomes, _ = dials.MismatchedMeanUnclamped()(unpaired(others), dials.AverageLogp())

    assert outcomes.value_K.tolist() == [-1.5 + 3.5, -4.0 + 3.5]


def test_the_mean_reward_of_tokens_gives_each_completion_the_same_say() -> None:
    # Log-ratios 1 and 3, 2 on average, and 6: the mean over completions is 4, that over tokens would be 10/3.
    others = sides(([-1.0, -1.0], [-2.0, -4.0]), ([-1.0], [-7.0]))

    outcomes, _ = dials.MismatchedMean()(unpaired(others), dials.TokenLogRatio())

    assert outcomes.value_K.tolist() == [2.0 - 4, -1.0 - 4, 0.5 - 4]


@pytest.mark.parametrize("point", [dials.MismatchedMean(), dials.MismatchedMeanUnclamped()], ids=str)
def test_no_gradient_flows_through_a_mean(point: dials.ReferencePoint) -> None:
    side, other = side_of([-1.0], [-2.0]), side_of([-1.0], [-3.0])
    batch = Unpaired(scored([side], ALL), torch.tensor([True]), mismatched=scored([other], ALL))

    outcomes, _ = point(batch, dials.LogRatio())
    outcomes.value_K.sum().backward()

    assert side.policy.grad is not None
    assert side.policy.grad.tolist() == [1.0]
    assert other.policy.grad is None


def test_the_rejected_reward_is_subtracted_with_its_gradient_and_what_is_judged_is_desirable() -> None:
    chosen, rejected = side_of([-1.0, -2.0], [-3.0, -1.0]), side_of([-4.0], [-4.5])
    batch = Paired(scored([chosen], ALL), scored([rejected], ALL))

    outcomes, desirable = dials.RejectedReward()(batch, dials.LogRatio())
    outcomes.value_K.sum().backward()

    assert outcomes.value_K.tolist() == [0.5]
    assert desirable.tolist() == [True]
    assert chosen.policy.grad is not None
    assert rejected.policy.grad is not None
    assert (chosen.policy.grad.tolist(), rejected.policy.grad.tolist()) == ([1.0, 1.0], [-1.0])


# -- value functions -------------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


WORKED: list[tuple[dials.Value, Callable[[float], float]]] = [
    (dials.Logistic(beta=0.5), lambda z: sigmoid(0.5 * z)),
    (dials.LogSigmoid(beta=0.5), lambda z: log(sigmoid(0.5 * z))),
    (dials.Linear(beta=0.5), lambda z: 0.5 * z),
]


@pytest.mark.parametrize(("value", "formula"), WORKED, ids=["logistic", "log-sigmoid", "linear"])
def test_what_is_a_gain_for_a_desirable_completion_is_a_loss_for_another(
    value: dials.Value, formula: Callable[[float], float]
) -> None:
    outcomes = [-3.0, 0.0, 2.0]

    assert values(value, outcomes, desirable=True) == pytest.approx([formula(z) for z in outcomes], rel=1e-14)
    assert values(value, outcomes, desirable=False) == pytest.approx([formula(-z) for z in outcomes], rel=1e-14)


def test_a_loss_of_the_power_value_weighs_more_than_a_gain() -> None:
    # With beta 0.5, alpha 0.5: outcomes 8 and -8 are 4 and -4 units, whose roots are 2; SOFT takes 2 in 100 off.
    found = values(dials.Power(alpha=0.5, loss_aversion=3.0, beta=0.5), [8.0, -8.0], desirable=True)

    size = 4.001**0.5 - 0.001**0.5
    assert found == pytest.approx([size, -3 * size], rel=1e-12)
    assert found == pytest.approx([2, -6], rel=0.02)
    assert values(dials.Power(alpha=0.5, loss_aversion=3.0, beta=0.5), [-8.0], desirable=False) == found[:1]


def test_the_default_power_value_is_kahneman_and_tverskys_to_a_few_in_a_thousand() -> None:
    outcomes = np.array([-20.0, -3.0, -1.0, 1.0, 3.0, 20.0])
    true = np.where(outcomes > 0, np.abs(outcomes) ** 0.88, -2.25 * np.abs(outcomes) ** 0.88)

    np.testing.assert_allclose(values(dials.Power(), outcomes.tolist(), desirable=True), true, rtol=4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("desirable", [True, False])
def test_the_power_value_near_zero_is_finite_and_still_teaches(dtype: torch.dtype, desirable: bool) -> None:
    outcome = torch.tensor([-1e-30, -1e-6, 0.0, 1e-6, 1e-30], dtype=dtype, requires_grad=True)

    found = dials.Power()(outcome, torch.full((5,), desirable))
    [slope] = torch.autograd.grad(found.sum(), [outcome])

    assert found.abs().max() < 1e-5
    # alpha * SOFT^(alpha - 1) = 0.88 * 0.001^-0.12 = 2.016 for gains, and 2.25 times as much for losses and at 0.
    gain = 0.88 * 0.001**-0.12
    sign = 1.0 if desirable else -1.0
    gains = [z * sign > 0 for z in outcome.tolist()]
    assert slope.tolist() == pytest.approx([sign * gain * (1 if g else 2.25) for g in gains], rel=1e-3)


def test_a_clipped_ratio_stops_growing_at_high_and_falling_at_low() -> None:
    outcomes = [log(0.1), 0.0, log(3.0), log(9.0)]

    assert values(dials.ClippedRatio(), outcomes, desirable=True) == pytest.approx([0.1, 1, 3, 4], rel=1e-14)
    assert values(dials.ClippedRatio(), outcomes, desirable=False) == pytest.approx([-0.25, -1, -3, -9], rel=1e-14)


VALUES = [dials.Logistic(), dials.LogSigmoid(), dials.Linear(), dials.Power(), dials.ClippedRatio()]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("desirable", [True, False])
def test_a_better_outcome_is_never_worth_less(value: dials.Value, desirable: bool) -> None:
    outcomes = np.linspace(-30, 30, 241)

    found = np.diff(values(value, outcomes.tolist(), desirable=desirable))

    assert bool((found >= 0).all() if desirable else (found <= 0).all())


@pytest.mark.parametrize("value", [dials.Logistic(), dials.LogSigmoid()], ids=lambda value: type(value).__name__)
def test_no_value_is_above_the_best_and_the_best_is_reached_far_out(value: dials.Value) -> None:
    found = values(value, [-1000.0, 0.0, 1000.0], desirable=True)

    assert max(found) == found[-1] == pytest.approx(value.best)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absurd_outcomes_have_finite_values_and_slopes(value: dials.Value, dtype: torch.dtype) -> None:
    outcome = torch.tensor([-1000.0, 0.0, 1000.0] * 2, dtype=dtype, requires_grad=True)
    found: Tensor = value(outcome, torch.tensor([True] * 3 + [False] * 3))
    [slope] = torch.autograd.grad(found.sum(), [outcome])

    assert found.dtype == dtype
    assert bool(found.isfinite().all())
    assert bool(slope.isfinite().all())


@pytest.mark.parametrize("cls", [dials.Logistic, dials.LogSigmoid, dials.Linear, dials.Power])
@pytest.mark.parametrize("beta", [0.0, -1.0, float("inf"), float("nan")])
def test_beta_is_positive_and_finite(cls: type, beta: float) -> None:
    with pytest.raises(ConfigError, match=f"beta must be positive and finite, got {beta}"):
        cls(beta=beta)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.1}, "power: alpha must be at most 1, lest gains be convex, got 1.1"),
        ({"alpha": 0.0}, "power: alpha must be positive and finite, got 0.0"),
        ({"loss_aversion": -1.0}, "power: loss_aversion must be positive and finite, got -1.0"),
    ],
)
def test_a_power_that_is_no_value_function_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dials.Power(**settings)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 4.0), (1.0, 4.0), (0.25, 1.0), (0.25, float("inf"))])
def test_a_clip_encloses_the_ratio_of_an_unchanged_policy(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=f"clipped-ratio: .* got low {low} and high {high}"):
        dials.ClippedRatio(low=low, high=high)


def test_the_defaults_are_kahneman_and_tverskys_and_the_papers() -> None:
    assert dials.Power() == dials.Power(alpha=0.88, loss_aversion=2.25, beta=1.0)
    assert dials.ClippedRatio() == dials.ClippedRatio(low=0.25, high=4.0)
    assert {dials.Logistic().beta, dials.LogSigmoid().beta, dials.Linear().beta} == {0.1}
