"""Which losses are human-aware: the theorems of the paper's texts, and counter-examples that can be checked by hand."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from haloes.losses._contract import LossOutput, Needs, Unpaired
from haloes.losses.aot_unpaired import AOTUnpaired
from haloes.losses.definition import LATER, V1, is_halo
from haloes.losses.dpo import DPO
from haloes.losses.halo import HALO
from haloes.losses.kto import KTO
from haloes.losses.make import make_loss
from haloes.losses.slic import SLiC
from haloes.losses.table import LOSSES


@pytest.mark.parametrize("name", ["dpo", "ppo", "kto", "halo", "kahneman-tversky", "kto-risk-neutral"])
def test_theorem_3_5_dpo_and_ppo_clip_are_human_aware_losses_and_kto_is_by_construction(name: str) -> None:
    verdict = is_halo(make_loss(name, {}))

    assert verdict, verdict.reason
    assert is_halo(make_loss(name, {}), V1)


@pytest.mark.parametrize("name", ["sft", "csft", "slic", "orpo", "unlikelihood"])
def test_plain_likelihoods_are_not_by_either_text(name: str) -> None:
    assert not is_halo(make_loss(name, {}), LATER)
    assert not is_halo(make_loss(name, {}), V1)


def test_slics_calibration_alone_is_one_by_version_1_and_not_by_the_later_text() -> None:
    calibration = SLiC(regularization=0.0)

    assert is_halo(calibration, V1)
    assert not is_halo(calibration, LATER)
    assert "no log-ratio to a reference" in is_halo(calibration, LATER).reason


def test_kto_without_its_reference_point_is_not_one() -> None:
    verdict = is_halo(make_loss("kto-no-reference-point", {}))

    assert not verdict
    assert "it has no reference point" in verdict.reason


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ipo", "not monotonic"),
        ("cdpo", "not monotonic"),
        ("kto-concave", "not concave in gains"),
        ("bco", "not concave in gains"),
        ("nca", "no function of the reward less a reference point"),
        ("dpop", "no function of the reward less a reference point"),
        ("dpo-sft", "no log-ratio"),
        ("wpo", "no log-ratio"),
    ],
)
def test_a_verdict_against_names_the_condition_that_fails(name: str, word: str) -> None:
    assert word in is_halo(make_loss(name, {})).reason


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_gets_a_verdict_with_a_reason(name: str) -> None:
    for definition in (LATER, V1):
        verdict = is_halo(make_loss(name, {}), definition)

        assert verdict.is_halo is bool(verdict)
        assert len(verdict.reason) > 40


def test_weights_do_not_matter() -> None:
    assert is_halo(KTO(desirable_weight="auto", undesirable_weight=3.0))
    assert is_halo(HALO(desirable_weight=0.5))


def test_the_counter_example_can_be_checked() -> None:
    # IPO's loss falls until the margin is 1 / (2 beta) = 5, and rises from there.
    reason = is_halo(make_loss("ipo", {"beta": 0.1})).reason
    found = re.search(r"rises at an outcome of (\S+) and falls at (\S+)", reason)

    assert found is not None
    assert (float(found[1]), float(found[2])) == (5.0, -200.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Convex:
    """A loss whose value function is convex in gains: the outcome squared, with its sign."""

    needs: ClassVar[Needs] = Needs(reference=True, mismatched=True)

    def __call__(self, batch: Unpaired) -> LossOutput:
        outcome = batch.completions.log_ratio() - batch.reference_point()
        value = outcome * outcome.abs()
        return LossOutput(torch.where(batch.desirable_B, -value, value))


def test_a_loss_of_ones_own_is_checked_too() -> None:
    own: Any = Convex()

    assert "not concave in gains" in is_halo(own).reason
    assert is_halo(DPO(beta=2.0))


def test_a_loss_whose_examples_depend_on_each_other_is_told_so() -> None:
    reason = is_halo(AOTUnpaired()).reason

    assert "compared with those of its step that its own reward chooses" in reason
