"""What is concluded from a few measured micro-batches, with a probe whose measurements are made up."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from haloes.batches.schedule import Step
from haloes.planning.cost_model import Layout, ModelSize, StepLoad, memory
from haloes.planning.probe import Candidates, MicroBatchCost
from haloes.planning.trial import measure

SIZES = ModelSize(
    weights=1000, trained=100, blocks=0, head=0, width=0, vocabulary=0, layers=10, key_values=0, queries=0
)
# 4000 bytes of weights, 800 of moments, 400 of gradients: 5200 beside activations.
HELD = 5200
LOAD = StepLoad(itemsize=4, moments=8, chunk=1)
KEPT = 10
"""Bytes that a token leaves."""
PLENTY = 10**9


def step(tokens: int) -> Step:
    return Step(0, 0, np.arange(tokens), np.empty(0, np.int64))


@dataclass
class Scripted:
    """Holds 300 bytes that nobody counts, and wastes half of what the activations take."""

    seen: list[str] = field(default_factory=list)

    def layout(self, step: Step) -> Layout:
        return Layout(tokens=len(step.examples), seen=0, positions=0)

    def run(self, step: Step, *, count: bool = False) -> MicroBatchCost:
        tokens = len(step.examples)
        self.seen.append(str(tokens))
        return MicroBatchCost(
            tokens=tokens,
            layout=self.layout(step),
            mismatched=Layout(tokens=0, seen=0, positions=0),
            seconds=float(tokens),
            reference_seconds=0.0,
            reference_tokens=0,
            busy=1.0,
            kept=KEPT * tokens if count else 0,
            peak=HELD + 300 + KEPT * tokens + KEPT * tokens // 2,
        )

    def update(self) -> float:
        self.seen.append("update")
        return 0.5


TRIED = Candidates(shortest=step(4), typical=step(100), largest=step(400), several=True)


def test_the_parts_add_up_to_what_the_largest_micro_batch_took():
    probe = Scripted()
    load, passed, update, complete = measure(probe, TRIED, SIZES, LOAD, PLENTY)

    assert complete
    assert memory(SIZES, load).training == HELD + 300 + 400 * KEPT + 200 * KEPT
    assert load.other == 300 + 4 * KEPT // 2
    assert (passed.tokens, update) == (100, 0.5)
    # Moments before anything is measured, gradients of the example beside the largest, and an update at the end.
    assert probe.seen == ["4", "update", "4", "400", "100", "400", "update"]


def test_what_would_not_fit_follows_from_the_typical_micro_batch():
    limit = HELD + 300 + 5000
    load, passed, _, complete = measure(Scripted(), TRIED, SIZES, LOAD, limit)

    assert not complete
    assert passed.tokens == 100
    assert memory(SIZES, load).training == pytest.approx(HELD + 300 + 600 * KEPT, rel=0.01)


def test_where_only_an_example_fits_everything_follows_from_it():
    probe = Scripted()
    load, passed, _, complete = measure(probe, TRIED, SIZES, LOAD, HELD + 300 + 500)

    assert not complete
    assert probe.seen == ["4", "update", "4"]
    assert passed.tokens == 4
    # Activations, and as much again for what an allocator may waste.
    assert memory(SIZES, load).training == HELD + 320 + 800 * KEPT


def test_the_gradients_of_a_step_in_one_micro_batch_are_gone_when_the_next_begins():
    probe = Scripted()
    alone = Candidates(TRIED.shortest, TRIED.typical, TRIED.largest, several=False)
    load, *_ = measure(probe, alone, SIZES, LOAD, PLENTY)

    assert probe.seen == ["4", "update", "4", "update", "400", "100", "400", "update"]
    assert memory(SIZES, load).training == HELD + 300 + 400 * KEPT + 200 * KEPT


def test_with_checkpointing_only_the_example_is_counted():
    load, *_ = measure(Scripted(), TRIED, SIZES, StepLoad(itemsize=4, moments=8, chunk=1, checkpointing=True), PLENTY)

    assert load.kept == KEPT
    assert memory(SIZES, load).parts["activations"] == 400 * KEPT // 10
