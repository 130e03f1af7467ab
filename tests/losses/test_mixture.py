"""Mixtures: weighted sums of losses on one batch, single completions or pairs."""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Needs
from haloes.losses.aot_unpaired import AOTUnpaired
from haloes.losses.bco import BCO
from haloes.losses.components import Origin
from haloes.losses.csft import CSFT
from haloes.losses.dpo import DPO
from haloes.losses.dro import DRO
from haloes.losses.halo import HALO
from haloes.losses.humanline import Humanline
from haloes.losses.ipo import IPO
from haloes.losses.kto import KTO
from haloes.losses.mixture import Mixture
from haloes.losses.pmpo import PMPO
from haloes.losses.ppo import PPO
from haloes.losses.ppo_value import PPOValue
from haloes.losses.sft import SFT
from haloes.losses.una_score import UNAScore
from haloes.losses.wpo import WPO
from loss_batches import Example, Numbers, evaluate, gradient, make_batch, make_examples, make_mismatched, ratio_side
from loss_oracles import Row, assert_agrees
from pair_checks import Tokens, log_ratio, sigmoid
from pair_checks import assert_agrees as assert_pairs_agree


def mixed(*parts: tuple[float, Any]) -> Mixture:
    return Mixture(losses=tuple(loss for _, loss in parts), weights=tuple(weight for weight, _ in parts))


ANCHORED = HALO(reference_point=Origin())
"""A loss on single completions of both labels that pairs can be given to: 1 - sigmoid(0.1 r), or of -r."""


@pytest.mark.parametrize("seed", range(3))
def test_on_single_completions_it_is_the_weighted_sum_of_the_formulas(seed: int) -> None:
    others = [side.numbers() for side in make_mismatched()]
    z0 = max(0.0, float(np.mean([side["policy"].sum() - side["reference"].sum() for side in others])))

    def oracle(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        found = []
        for row in rows:
            z = row.ratio - z0 if row.desirable else z0 - row.ratio
            likelihood = -row.policy.sum() if row.desirable else 0.0
            found.append(2.0 * (1 - sigmoid(0.3 * z)) + 0.5 * likelihood)
        return np.array(found)

    assert_agrees(mixed((2.0, KTO(beta=0.3)), (0.5, SFT())), oracle, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_on_pairs_single_completion_losses_take_the_chosen_one_or_the_mean_of_both(seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = 0.3 * (log_ratio(chosen) - log_ratio(rejected))
        anchored = [1 - sigmoid(0.1 * log_ratio(chosen)), 1 - sigmoid(-0.1 * log_ratio(rejected))]
        return float(1.5 * np.log1p(np.exp(-margin)) - 0.2 * chosen["policy"].sum() + 3.0 * np.mean(anchored))

    assert_pairs_agree(mixed((1.5, DPO(beta=0.3)), (0.2, SFT()), (3.0, ANCHORED)), oracle, seed=seed)


def test_worked_example() -> None:
    # Log-ratios 1 and 1: DPO is log 2. The chosen completion has log-probability -1: SFT is 1. 2 log 2 + 0.5.
    one = Example(ratio_side(1.0), True, 0.0, ratio_side(1.0))

    found = evaluate(mixed((2.0, DPO()), (0.5, SFT())), [one])

    assert found.per_example.tolist() == pytest.approx([2 * log(2) + 0.5], rel=1e-12)
    assert found.metrics["dpo/loss"].tolist() == pytest.approx([log(2)])
    assert found.metrics["sft/loss"].tolist() == [1.0]


def test_what_learns_from_desirable_completions_alone_pushes_no_other() -> None:
    examples = make_examples()
    output = evaluate(mixed((0.0, KTO()), (1.0, SFT())), examples)

    for example, own in zip(examples, output.per_example, strict=True):
        [slope] = gradient(own, [example.completion.policy])
        assert slope.tolist() == [-1.0 if example.desirable else 0.0] * len(slope)


def test_of_losses_on_desirable_completions_alone_it_is_given_no_others() -> None:
    assert not mixed((1.0, SFT()), (1.0, SFT())).needs.undesirable


@pytest.mark.parametrize("loss", [KTO(), DPO(), PPOValue(), WPO()], ids=["kto", "dpo", "ppo-value", "wpo"])
def test_of_one_loss_with_weight_one_it_is_that_loss(loss: Any) -> None:
    examples = make_examples()
    found, true = evaluate(mixed((1.0, loss)), examples), evaluate(loss, examples)
    leaves = [leaf for e in examples for side in (e.completion, e.rejected) for leaf in side.leaves().values()]

    assert torch.equal(found.per_example, true.per_example)
    for a, b in zip(*(gradient(o.per_example.sum(), leaves) for o in (found, true)), strict=True):
        assert torch.equal(a, b)


def test_two_halves_make_a_whole_and_zero_is_nothing() -> None:
    examples = make_examples()
    halves = evaluate(mixed((0.5, KTO()), (0.5, KTO()), (0.0, PPO())), examples)

    torch.testing.assert_close(halves.per_example, evaluate(KTO(), examples).per_example, rtol=1e-14, atol=0)


def test_a_mixture_can_be_a_part_of_another() -> None:
    examples = make_examples()
    nested = mixed((2.0, mixed((1.0, DPO()), (3.0, SFT()))), (1.0, IPO()))
    flat = mixed((2.0, DPO()), (6.0, SFT()), (1.0, IPO()))

    torch.testing.assert_close(
        evaluate(nested, examples).per_example, evaluate(flat, examples).per_example, rtol=1e-12, atol=0
    )


def test_each_part_logs_its_own_under_its_name() -> None:
    examples = make_examples()
    found = evaluate(mixed((2.0, KTO()), (1.0, SFT())), examples).metrics

    assert set(found) == {"kto/loss", "kto/value", "sft/loss", "sft/nll_per_token"}
    torch.testing.assert_close(found["kto/loss"], evaluate(KTO(), examples).per_example.detach())
    assert not any(values.requires_grad for values in found.values())


def test_parts_of_one_class_are_told_apart_by_number() -> None:
    examples = make_examples()
    found = evaluate(mixed((1.0, KTO(beta=0.1)), (1.0, SFT()), (1.0, KTO(beta=1.0))), examples).metrics

    assert set(found) == {"kto/loss", "kto/value", "sft/loss", "sft/nll_per_token", "kto-2/loss", "kto-2/value"}
    torch.testing.assert_close(found["kto-2/loss"], evaluate(KTO(beta=1.0), examples).per_example.detach())


def test_metrics_on_pairs_are_of_the_chosen_completion_or_the_mean_of_both() -> None:
    # Log-ratios 3 and 0: the anchored value is sigmoid(0.3) for the chosen and sigmoid(0) for the rejected one.
    one = Example(ratio_side(3.0), True, 0.0, ratio_side(0.0))

    found = evaluate(mixed((1.0, DPO()), (1.0, SFT()), (1.0, ANCHORED)), [one]).metrics

    assert found["dpo/accuracy"].tolist() == [1.0]
    assert found["sft/nll_per_token"].tolist() == [1.0]
    assert found["halo/value"].tolist() == pytest.approx([(sigmoid(0.3) + 0.5) / 2], rel=1e-12)


@pytest.mark.parametrize(
    ("parts", "needs"),
    [
        ((DPO(), SFT()), Needs(pairs=True, reference=True)),
        ((KTO(), SFT()), Needs(reference=True, mismatched=True)),
        ((SFT(), KTO()), Needs(reference=True, mismatched=True)),
        ((PPOValue(), BCO()), Needs(reference=True, reference_tokens=True, values=True, running_reward=True)),
        ((WPO(), PMPO()), Needs(pairs=True, reference=True, collision=True, reference_kl=True)),
        ((CSFT(), SFT()), Needs(control=("<|good|>", "<|bad|>"))),
        ((UNAScore(), SFT()), Needs(reference=True, scores=True, score_range=(0.0, 1.0))),
        ((UNAScore(), DRO()), Needs(reference=True, scores=True, score_range=(0.0, 1.0))),
        ((AOTUnpaired(), KTO()), Needs(reference=True, mismatched=True, whole_step=True)),
        (
            (Humanline(loss=KTO(), every=2), SFT()),
            Needs(reference=True, reference_tokens=True, mismatched=True, sync_every=2),
        ),
    ],
    ids=lambda value: "+".join(type(part).__name__ for part in value) if isinstance(value, tuple) else "",
)
def test_it_needs_what_any_of_its_parts_needs(parts: tuple[Any, ...], needs: Needs) -> None:
    loss = Mixture(losses=parts, weights=(1.0,) * len(parts))

    assert loss.needs == needs
    assert bool(loss(make_batch(make_examples(), loss.needs)).per_example.isfinite().all())


@pytest.mark.parametrize(("num", "weights"), [(0, ()), (2, (1.0,)), (1, (1.0, 2.0)), (1, ())])
def test_every_part_has_a_weight(num: int, weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=f"mixture: needs one weight a loss, got {num} and {len(weights)}"):
        Mixture(losses=(KTO(),) * num, weights=weights)


@pytest.mark.parametrize("weight", [-0.1, float("inf"), float("nan")])
def test_weights_are_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"mixture: weights must be finite numbers of at least 0, got \[1.0, "):
        mixed((1.0, KTO()), (weight, SFT()))


@pytest.mark.parametrize(
    "single", [KTO(), BCO(), DRO(), CSFT(), AOTUnpaired()], ids=lambda loss: type(loss).__name__.lower()
)
def test_what_pairs_cannot_give_is_refused(single: Any) -> None:
    with pytest.raises(ConfigError, match="mixture: a loss on pairs cannot be mixed with one that needs more"):
        mixed((1.0, DPO()), (1.0, single))


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (CSFT(), CSFT(desirable_token="+"), "its parts want control to be .* and .*; make it one"),
        (Humanline(loss=KTO(), every=2), Humanline(loss=KTO(), every=3), "its parts want sync_every to be 2 and 3"),
        (Humanline(loss=KTO()), KTO(), "its parts want sync_every to be 4 and None"),
    ],
    ids=["control", "sync_every", "synced and not"],
)
def test_parts_that_cannot_both_have_their_way_are_refused(one: Any, other: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"mixture: {message}"):
        mixed((1.0, one), (1.0, other))
