"""A run ends where its budget of divergence is spent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import Interrupted
from haloes.training.kl_limit import KLLimit, is_looked_at, num_looks
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import KL_BUDGET, TrainSettings, budget_of
from haloes.training.trainer import train
from training_jobs import LOSSES, make_job, make_store

LOSS = LOSSES["kto"]
SETTINGS = {"lr": 1e-3, "batch_size": 2, "epochs": 1, "kl_budget": 1.0}


def drifting(*values: float) -> Callable[[int], float]:
    """Return a drift that gives these numbers one after the other."""
    left = iter(values)
    return lambda _: next(left)


def test_the_budget_is_spent_at_the_first_look_above_it():
    limit = KLLimit(1.0, [])

    for step, kl in enumerate([0.5, 1.0, 1.5, 0.2, 2.0], start=1):
        limit.update(step, {"kl": kl})

    assert limit.passed == (3, 1.5)


def test_looks_are_counted_as_they_fall():
    for num_steps in range(1, 130):
        assert num_looks(num_steps) == sum(is_looked_at(step, num_steps) for step in range(1, num_steps + 1)) <= 20


def test_it_is_a_function_of_the_steps_so_far():
    lines = [
        {"step": 1, "split": "train", "kl": 0.5},
        {"step": 2, "split": "validation", "kl": 9.0},
        {"step": 2, "split": "train", "kl": 2.5},
        {"step": 3, "split": "train"},
    ]

    assert KLLimit(1.0, lines).passed == (2, 2.5)
    assert not KLLimit(None, lines).should_stop


@pytest.mark.parametrize(("num_steps", "looks"), [(5, 5), (39, 19), (54, 18), (1000, 20)])
def test_a_run_is_looked_at_at_most_twenty_times_whatever_its_length(num_steps: int, looks: int):
    assert sum(is_looked_at(step, num_steps) for step in range(1, num_steps + 1)) == looks


@pytest.mark.parametrize(("budget", "value"), [("auto", KL_BUDGET), (None, KL_BUDGET), (2.0, 2.0)])
def test_a_run_without_a_limit_is_warned_of_from_the_default_on(budget: Any, value: float):
    assert budget_of(TrainSettings(kl_budget=budget)) == value


def test_training_ends_after_the_step_at_which_the_budget_is_spent_and_is_validated_there(tmp_path: Path):
    store, held_out = make_store(tmp_path, LOSS, 16), make_store(tmp_path / "held", LOSS, 8, seed=1)
    job = make_job(
        tmp_path / "run",
        LOSS,
        train=store,
        validation=held_out,
        settings=TrainSettings(**SETTINGS),
        drift=drifting(0.1, 0.4, 1.2),
    )

    result = train(job)

    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert result.kl_passed == (3, 1.2)
    assert [line["kl"] for line in lines if line["split"] == "train"] == [0.1, 0.4, 1.2]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [3]
    assert result.validation is not None


def test_a_run_that_ended_there_does_not_go_on_when_it_is_resumed_unless_its_budget_is_lifted(tmp_path: Path):
    store = make_store(tmp_path, LOSS, 16)
    train(make_job(tmp_path / "run", LOSS, train=store, settings=TrainSettings(**SETTINGS), drift=drifting(0.1, 1.2)))

    again = make_job(tmp_path / "run", LOSS, train=store, settings=TrainSettings(**SETTINGS), drift=drifting())
    assert train(again).kl_passed == (2, 1.2)
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 2

    lifted = TrainSettings(**SETTINGS | {"kl_budget": None})
    assert train(make_job(tmp_path / "run", LOSS, train=store, settings=lifted)).kl_passed is None
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == list(range(1, 9))


def test_a_stop_amid_the_run_keeps_what_was_looked_at(tmp_path: Path):
    store = make_store(tmp_path, LOSS, 16)
    asked = iter([False, True])
    stopped = make_job(
        tmp_path / "run",
        LOSS,
        train=store,
        settings=TrainSettings(**SETTINGS),
        drift=drifting(0.1, 0.2),
        stop=lambda: next(asked),
    )
    with pytest.raises(Interrupted):
        train(stopped)

    resumed = make_job(
        tmp_path / "run", LOSS, train=store, settings=TrainSettings(**SETTINGS), drift=drifting(0.3, 1.1)
    )
    assert train(resumed).kl_passed == (4, 1.1)
