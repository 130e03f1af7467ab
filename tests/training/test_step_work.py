"""What a progress is told of a step that is under way: parts that add up to one, whatever the loss needs."""

from pathlib import Path
from typing import Any

import pytest

from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.sft import SFT
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import NullProgress
from haloes.training.job import make_stepper, training_schedule
from haloes.training.trainer import train
from training_jobs import make_job, make_store


class Told(NullProgress):
    def __init__(self) -> None:
        self.parts: list[float] = []
        self.stages: list[tuple[str, int | None]] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append((name, total))

    def advance(self, count: float) -> None:
        self.parts.append(count)


@pytest.mark.parametrize("cached", [False, True], ids=["computed", "cached"])
@pytest.mark.parametrize("loss", [KTO(), DPO(), SFT()], ids=lambda loss: type(loss).__name__)
def test_the_parts_of_a_step_add_up_to_one(loss: Any, cached: bool, tmp_path: Path):
    told, cache = Told(), ReferenceCache(tmp_path / "cache") if cached else None
    store = make_store(tmp_path / "store", loss, 8)
    job = make_job(tmp_path / "run", loss, train=store, progress=told, cache=cache)
    stepper = make_stepper(job, store)
    schedule = training_schedule(job, stepper)
    for _ in range(2):  # the second time the reference comes from the cache, if there is one
        told.parts.clear()
        stepper.run(schedule.step(0), backward=True)

        assert sum(told.parts) == pytest.approx(1.0)
        assert min(told.parts) >= 0


def test_a_slow_step_is_told_by_its_micro_batches_and_by_its_reference(tmp_path: Path):
    told, loss = Told(), KTO()
    store = make_store(tmp_path / "store", loss, 8)
    job = make_job(tmp_path / "run", loss, train=store, progress=told)
    stepper = make_stepper(job, store)
    stepper.run(training_schedule(job, stepper).step(0), backward=True)

    # The reference goes first: without its part nothing would move for a third of the step.
    assert len(told.parts) >= 3
    assert max(told.parts) < 1


def test_a_validation_is_a_stage_of_as_many_units_as_it_has_steps(tmp_path: Path):
    told, loss = Told(), KTO()
    store = make_store(tmp_path / "store", loss, 8)
    held_out = make_store(tmp_path / "held_out", loss, 6)
    train(make_job(tmp_path / "run", loss, train=store, validation=held_out, progress=told))

    steps = -(-held_out.num_examples // 4)
    assert told.stages == [("validation", steps)]
