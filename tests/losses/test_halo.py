"""HALO, which is each of the losses that it is said to be when its dials are set so."""

from typing import Any

import pytest
import torch
from torch import Tensor

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses._weights import with_weights
from haloes.losses.components import (
    AverageLogp,
    ClippedRatio,
    Linear,
    Logistic,
    LogRatio,
    LogSigmoid,
    MismatchedMean,
    MismatchedMeanUnclamped,
    Origin,
    Power,
    RejectedReward,
    TokenLogRatio,
)
from haloes.losses.dpo import DPO
from haloes.losses.halo import HALO
from haloes.losses.kto import KTO
from haloes.losses.ppo import PPO
from loss_batches import Example, Side, evaluate, gradient, make_batch, make_examples, make_mismatched, ratio_side

PPO_BUILT = HALO(reward=TokenLogRatio(), reference_point=Origin(), value=ClippedRatio())
DPO_BUILT = HALO(reference_point=RejectedReward(), value=LogSigmoid())


def slopes(loss: Any, examples: list[Example], mismatched: list[Side]) -> tuple[Tensor, list[Tensor]]:
    """The losses, and the gradient of an uneven sum of them at every token."""
    found = evaluate(loss, examples, mismatched=mismatched).per_example
    uneven = torch.linspace(-1, 2, len(examples), dtype=found.dtype)
    sides = [side for example in examples for side in (example.completion, example.rejected)]
    return found, gradient((found * uneven).sum(), [leaf for side in sides for leaf in side.leaves().values()])


def assert_equal(one: Any, other: Any, *, seed: int, constant: float = 0.0) -> None:
    """The same values but for a constant, and the same gradients."""
    examples, mismatched = make_examples(9, seed=seed), make_mismatched(seed=seed)
    (found, found_slopes), (true, true_slopes) = slopes(one, examples, mismatched), slopes(other, examples, mismatched)

    torch.testing.assert_close(found, true + constant, rtol=0, atol=1e-12)
    assert any(bool(slope.any()) for slope in true_slopes)
    for a, b in zip(found_slopes, true_slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.5, 0.7)])
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_its_defaults_are_kto(seed: int, desirable: float, undesirable: float, beta: float) -> None:
    weights = {"desirable_weight": desirable, "undesirable_weight": undesirable}

    assert_equal(HALO(value=Logistic(beta=beta), **weights), KTO(beta=beta, **weights), seed=seed)


def test_its_defaults_have_ktos_defaults() -> None:
    assert HALO() == HALO(reward=LogRatio(), reference_point=MismatchedMean(), value=Logistic(beta=KTO().beta))
    assert HALO().needs == KTO.needs


def test_its_metric_is_ktos() -> None:
    examples = make_examples()
    found, true = (evaluate(loss, examples).metrics for loss in (HALO(), KTO()))

    torch.testing.assert_close(dict(found), dict(true), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_with_the_rejected_reward_and_log_sigmoid_it_is_dpo(seed: int, beta: float) -> None:
    assert_equal(HALO(reference_point=RejectedReward(), value=LogSigmoid(beta=beta)), DPO(beta=beta), seed=seed)


def test_as_dpo_it_needs_what_dpo_needs() -> None:
    assert DPO_BUILT.needs == DPO.needs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("low", "high"), [(0.25, 4.0), (0.8, 1.2)])
def test_with_token_rewards_no_reference_point_and_the_clipped_ratio_it_is_ppo(
    seed: int, low: float, high: float
) -> None:
    built = HALO(reward=TokenLogRatio(), reference_point=Origin(), value=ClippedRatio(low=low, high=high))

    assert_equal(built, PPO(low=low, high=high), seed=seed)


def test_as_ppo_it_needs_what_ppo_needs() -> None:
    assert PPO_BUILT.needs == PPO.needs


@pytest.mark.parametrize(
    ("loss", "needs"),
    [
        (HALO(reference_point=Origin()), Needs(reference=True)),
        (HALO(reward=AverageLogp(), reference_point=Origin()), Needs()),
        (HALO(reward=AverageLogp(), reference_point=MismatchedMeanUnclamped()), Needs(mismatched=True)),
        (HALO(reward=TokenLogRatio()), Needs(reference_tokens=True, mismatched=True)),
        (HALO(reward=AverageLogp(), reference_point=RejectedReward()), Needs(pairs=True)),
    ],
    ids=lambda value: "",
)
def test_it_needs_what_its_reward_and_its_reference_point_need(loss: HALO, needs: Needs) -> None:
    assert loss.needs == needs
    assert bool(evaluate(loss, make_examples()).per_example.isfinite().all())


@pytest.mark.parametrize(
    ("loss", "less", "misses"),
    [
        (HALO(), Needs(reference=True), "mismatched"),
        (HALO(), Needs(mismatched=True), "reference"),
        (PPO_BUILT, Needs(reference=True), "of tokens"),
        (DPO_BUILT, Needs(reference=True), "pairs"),
    ],
)
def test_what_it_needs_it_misses(loss: HALO, less: Needs, misses: str) -> None:
    with pytest.raises(MissingInputError, match=misses):
        loss(make_batch(make_examples(), less))


def test_worked_example() -> None:
    # z0 = mean(1, 3) = 2. Desirable: z = 5 - 2 = 3. Undesirable: z = -(-1 - 2) = 3 as well. Linear: -weight * 0.5 * 3.
    examples = [
        Example(ratio_side(5.0), True, 0.0, ratio_side(0.0)),
        Example(ratio_side(-1.0), False, 0.0, ratio_side(0.0)),
    ]
    loss = HALO(value=Linear(beta=0.5), desirable_weight=2.0, undesirable_weight=4.0)

    found = evaluate(loss, examples, mismatched=[ratio_side(1.0), ratio_side(3.0)])

    assert found.per_example.tolist() == [-3.0, -6.0]
    assert found.metrics["value"].tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    "point", [Origin(), MismatchedMean(), MismatchedMeanUnclamped(), RejectedReward()], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("reward", [LogRatio(), TokenLogRatio(), AverageLogp()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize(
    "value", [Logistic(), LogSigmoid(), Linear(), Power(), ClippedRatio()], ids=lambda v: type(v).__name__
)
def test_all_dials_go_together_but_token_rewards_with_pairs(reward: Any, point: Any, value: Any) -> None:
    if isinstance(reward, TokenLogRatio) and isinstance(point, RejectedReward):
        with pytest.raises(ConfigError, match="a reward of tokens cannot be compared within pairs; take log-ratio"):
            HALO(reward=reward, reference_point=point, value=value)
        return
    found = evaluate(HALO(reward=reward, reference_point=point, value=value), make_examples())

    assert found.per_example.shape == (6,)
    assert bool(found.per_example.isfinite().all())
    assert found.per_example.requires_grad


def test_weights_left_to_the_data_are_filled_in() -> None:
    loss = HALO(desirable_weight="auto", undesirable_weight="auto")

    with pytest.raises(ConfigError, match='still "auto"'):
        evaluate(loss, make_examples())
    assert with_weights(loss, desirable=1.5, undesirable=2.0) == HALO(desirable_weight=1.5, undesirable_weight=2.0)


@pytest.mark.parametrize("name", ["desirable_weight", "undesirable_weight"])
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "much"])
def test_weights_that_cannot_be_used_are_refused(name: str, weight: Any) -> None:
    with pytest.raises(ConfigError, match=f"halo: {name} must be a number of at least 0"):
        HALO(**{name: weight})
