"""Humanline clamping, against sums by hand and against the losses inside on clamped log-ratios."""

from collections.abc import Sequence
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.aot_unpaired import AOTUnpaired
from haloes.losses.dpo import DPO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.ppo import PPO
from haloes.losses.sft import SFT
from haloes.losses.simpo import SimPO
from loss_batches import Example, Numbers, evaluate, gradient, make_batch, make_examples, make_mismatched, side_of
from loss_oracles import Row, assert_agrees
from pair_checks import Tokens
from pair_checks import assert_agrees as assert_pairs_agree

LOW, HIGH = -0.6, 0.9


def clamped(policy: Numbers, reference: Numbers) -> float:
    """The log-ratio of a completion, each token's kept between the bounds."""
    return float(np.clip(policy - reference, LOW, HIGH).sum())


def example(*ratios: float, desirable: bool = True) -> Example:
    """A completion whose tokens have these log-ratios."""
    side = side_of([ratio - 5 for ratio in ratios], [-5.0] * len(ratios))
    return Example(side, desirable, 0.0, side_of([-1.0], [-1.0]))


@pytest.mark.parametrize("seed", range(4))
def test_with_kto_it_is_kto_on_clamped_token_log_ratios(seed: int) -> None:
    loss = Humanline(loss=KTO(beta=0.4, desirable_weight=1.5), log_low=LOW, log_high=HIGH)
    others = [side.numbers() for side in make_mismatched()]
    z0 = max(0.0, float(np.mean([clamped(side["policy"], side["reference"]) for side in others])))

    def oracle(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        z = [clamped(row.policy, row.reference) - z0 for row in rows]
        cost = [(1.5, v) if row.desirable else (1.0, -v) for row, v in zip(rows, z, strict=True)]
        return np.array([weight / (1 + np.exp(0.4 * v)) for weight, v in cost])

    assert z0 > 0
    assert_agrees(loss, oracle, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_with_dpo_it_is_dpo_on_clamped_token_log_ratios(seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = clamped(chosen["policy"], chosen["reference"]) - clamped(rejected["policy"], rejected["reference"])
        return float(np.log1p(np.exp(-0.5 * margin)))

    assert_pairs_agree(Humanline(loss=DPO(beta=0.5), log_low=LOW, log_high=HIGH), oracle, seed=seed)


def test_worked_example() -> None:
    # Log-ratios 0.5, 3, -4 are taken as 0.5, 1, -2: -0.5 altogether. DPO against 0: -log sigmoid(0.2 * -0.5).
    found = evaluate(Humanline(loss=DPO(beta=0.2), log_low=-2, log_high=1), [example(0.5, 3.0, -4.0)])

    assert found.per_example.tolist() == pytest.approx([log(1 + exp(0.1))], rel=1e-12)


@pytest.mark.parametrize("inner", [KTO(), DPO(), PPO()], ids=["kto", "dpo", "ppo"])
def test_clamped_tokens_teach_nothing_and_the_others_as_before(inner: Any) -> None:
    one = example(0.5, 1.2, -0.7, -0.1)
    loss = Humanline(loss=inner, log_low=LOW, log_high=HIGH)

    [slope] = gradient(evaluate(loss, [one]).per_example.sum(), [one.completion.policy])

    assert (slope != 0).tolist() == [True, False, False, True]


@pytest.mark.parametrize("inner", [KTO(), DPO(), PPO(), AOTUnpaired()], ids=["kto", "dpo", "ppo", "aot-unpaired"])
def test_with_bounds_that_no_token_reaches_it_is_the_loss_inside(inner: Any) -> None:
    examples, mismatched = make_examples(), make_mismatched()
    loss = Humanline(loss=inner, log_low=-50, log_high=50)
    leaves = [side.policy for e in examples for side in (e.completion, e.rejected)]
    found, true = (evaluate(one, examples, mismatched=mismatched) for one in (loss, inner))

    torch.testing.assert_close(found.per_example, true.per_example, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dict(found.metrics), dict(true.metrics), rtol=1e-12, atol=1e-12)
    slopes = [gradient(output.per_example.square().sum(), leaves) for output in (found, true)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_it_clamps_mismatched_completions_too() -> None:
    # All of them 3 above the reference in one token, clamped to 0.9: z0 = 0.9. KTO of log-ratio 0: sigmoid(0.1 * 0.9).
    others = [example(3.0).completion] * 2

    found = evaluate(Humanline(loss=KTO(), log_low=LOW, log_high=HIGH), [example(0.0)], mismatched=others)

    assert found.per_example.tolist() == pytest.approx([1 / (1 + exp(-0.09))], rel=1e-12)


def test_it_needs_what_the_loss_inside_needs_and_tokens_of_a_reference_that_is_synced() -> None:
    assert Humanline(loss=KTO(), every=3).needs == Needs(
        reference=True, mismatched=True, reference_tokens=True, sync_every=3
    )
    assert Humanline(loss=DPO()).needs == Needs(pairs=True, reference=True, reference_tokens=True, sync_every=4)
    assert Humanline(loss=AOTUnpaired()).needs.whole_step


def test_sums_of_the_reference_are_not_enough() -> None:
    loss = Humanline(loss=KTO())

    with pytest.raises(MissingInputError, match="reference log-probabilities of tokens"):
        loss(make_batch(make_examples(), Needs(reference=True, mismatched=True)))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.0, 1.0),
        (-1.0, 0.0),
        (0.5, 1.0),
        (-1.0, -0.5),
        (-float("inf"), 1.0),
        (-1.0, float("inf")),
        (-1.0, float("nan")),
    ],
)
def test_bounds_that_do_not_enclose_an_unchanged_policy_are_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=f"humanline: needs log_low < 0 < log_high, .* got {low} and {high}"):
        Humanline(loss=KTO(), log_low=low, log_high=high)


@pytest.mark.parametrize("every", [0, -1])
def test_the_reference_is_synced_at_most_once_a_step(every: int) -> None:
    with pytest.raises(ConfigError, match=f"humanline: every must be at least 1, got {every}"):
        Humanline(loss=KTO(), every=every)


@pytest.mark.parametrize("inner", [SFT(), SimPO()], ids=["sft", "simpo"])
def test_a_loss_without_a_reference_is_refused(inner: Any) -> None:
    with pytest.raises(ConfigError, match="humanline: loss must be one that compares with a reference"):
        Humanline(loss=inner)
