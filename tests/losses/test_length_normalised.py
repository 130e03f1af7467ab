"""Length normalisation, against sums by hand and against the losses inside on log-probabilities per token."""

from collections.abc import Sequence
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import MissingInputError
from haloes.losses._contract import Needs, Scored
from haloes.losses.dpo import DPO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.orpo import ORPO
from haloes.losses.sft import SFT
from loss_batches import Example, Numbers, evaluate, gradient, make_batch, make_examples, make_mismatched, side_of
from loss_oracles import Row, assert_agrees
from pair_checks import Tokens, log_ratio
from pair_checks import assert_agrees as assert_pairs_agree


@pytest.mark.parametrize("seed", range(4))
def test_with_kto_it_is_kto_on_log_ratios_per_token(seed: int) -> None:
    others = [side.numbers() for side in make_mismatched()]
    z0 = max(0.0, float(np.mean([(side["policy"] - side["reference"]).mean() for side in others])))

    def oracle(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        z = [(row.policy - row.reference).mean() - z0 for row in rows]
        return np.array([1 / (1 + np.exp(2 * (v if row.desirable else -v))) for row, v in zip(rows, z, strict=True)])

    assert z0 > 0
    assert_agrees(LengthNormalised(loss=KTO(beta=2.0)), oracle, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_with_dpo_it_is_dpo_on_log_ratios_per_token(seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = log_ratio(chosen) / len(chosen["policy"]) - log_ratio(rejected) / len(rejected["policy"])
        return float(np.log1p(np.exp(-3 * margin)))

    assert_pairs_agree(LengthNormalised(loss=DPO(beta=3.0)), oracle, seed=seed)


def test_worked_example() -> None:
    # Log-ratios 4 over two tokens and -3 over three: margin 2 - -1 = 3.
    chosen, rejected = side_of([-1.0, -2.0], [-3.0, -4.0]), side_of([-2.0, -2.0, -2.0], [-1.0, -1.0, -1.0])

    found = evaluate(LengthNormalised(loss=DPO(beta=0.5)), [Example(chosen, True, 0.0, rejected)])

    assert found.per_example.tolist() == pytest.approx([log(1 + exp(-1.5))], rel=1e-12)


def test_sft_becomes_the_mean_over_tokens_and_every_token_of_a_long_completion_weighs_less() -> None:
    side = side_of([-1.0, -2.0, -6.0], [0.0, 0.0, 0.0])
    found = evaluate(LengthNormalised(loss=SFT()), [Example(side, True, 0.0, side)])

    [slope] = gradient(found.per_example.sum(), [side.policy])

    assert found.per_example.tolist() == [3.0]
    assert slope.tolist() == pytest.approx([-1 / 3] * 3)


def test_a_completion_said_twice_over_has_the_same_loss() -> None:
    once, twice = side_of([-1.0, -2.0], [-3.0, -1.5]), side_of([-1.0, -2.0] * 2, [-3.0, -1.5] * 2)
    examples = [Example(side, True, 0.0, once) for side in (once, twice)]

    one, two = evaluate(LengthNormalised(loss=KTO(beta=1.0)), examples).per_example.tolist()

    assert one == pytest.approx(two, rel=1e-14)


def test_on_completions_of_one_token_it_changes_nothing() -> None:
    examples = [
        Example(side_of([-1.0], [-3.0]), True, 0.0, side_of([-2.0], [-1.0])),
        Example(side_of([-4.0], [-3.0]), False, 0.0, side_of([-2.5], [-1.0])),
    ]
    for inner in (KTO(), DPO(), SFT(), ORPO()):
        found, true = (evaluate(loss, examples).per_example for loss in (LengthNormalised(loss=inner), inner))
        if not inner.needs.mismatched:
            torch.testing.assert_close(found, true, rtol=1e-14, atol=0)
    alone = [side_of([-1.0], [-2.0])]
    found, true = (
        evaluate(loss, examples, mismatched=alone).per_example for loss in (LengthNormalised(loss=KTO()), KTO())
    )
    torch.testing.assert_close(found, true, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("inner", "needs"),
    [
        (KTO(), Needs(reference=True, mismatched=True)),
        (DPO(), Needs(pairs=True, reference=True)),
        (SFT(), Needs(undesirable=False)),
        (Humanline(loss=KTO(), every=2), Humanline(loss=KTO(), every=2).needs),
    ],
    ids=["kto", "dpo", "sft", "humanline"],
)
def test_it_needs_what_the_loss_inside_needs(inner: Any, needs: Needs) -> None:
    assert LengthNormalised(loss=inner).needs == needs


def test_token_log_ratios_are_those_of_the_normalised_log_probabilities() -> None:
    # So that a clamp inside acts on a token's share: (-1 - -3) / 2 = 1 and (-2 - -1) / 2 = -0.5.
    seen: list[Scored] = []

    class Spy:
        needs = Needs(reference_tokens=True)
        metrics = SFT.metrics

        def __call__(self, batch: Any) -> Any:
            seen.append(batch.completions)
            return SFT()(batch)

    side = side_of([-1.0, -2.0], [-3.0, -1.0])
    evaluate(LengthNormalised(loss=Spy()), [Example(side, True, 0.0, side)])

    assert seen[0].token_log_ratio().tolist() == [1.0, -0.5]


def test_what_is_missing_inside_is_missed() -> None:
    with pytest.raises(MissingInputError, match="reference"):
        LengthNormalised(loss=KTO())(make_batch(make_examples(), Needs(mismatched=True)))
