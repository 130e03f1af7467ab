"""The best validation is kept, and a run that grows no better is ended."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, Interrupted
from haloes.training.early_stopping import EarlyStopping
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from haloes.training.validation import Validation
from training_jobs import LOSSES, make_job, make_store, policy_for

KTO = LOSSES["kto"]


def take(best: EarlyStopping, values: list[float], name: str = "auc") -> list[bool]:
    return [best.update(step, {name: value}) for step, value in enumerate(values, start=1)]


def test_more_is_better_and_the_first_of_equal_ones_stays():
    best = EarlyStopping("auc", None, [])

    assert take(best, [0.5, 0.7, 0.7, 0.6]) == [True, True, False, False]
    assert best.step == 2


def test_of_a_loss_less_is_better():
    best = EarlyStopping("loss", None, [])

    assert take(best, [0.5, 0.6, 0.4], "loss") == [True, False, True]
    assert best.step == 3


def test_it_gives_up_after_so_many_validations_without_a_better_one():
    best = EarlyStopping("auc", 2, [])
    states = []
    for step, value in enumerate([0.5, 0.4, 0.6, 0.6, 0.5], start=1):
        best.update(step, {"auc": value})
        states.append(best.should_stop)

    assert states == [False, False, False, False, True]


def test_it_is_a_function_of_the_lines_so_far():
    lines = [
        {"step": 1, "split": "train", "auc": 0.9},
        {"step": 2, "split": "validation", "auc": 0.6},
        {"step": 4, "split": "validation", "auc": 0.5},
    ]
    best = EarlyStopping("auc", 2, lines)

    assert (best.step, best.should_stop) == (2, False)
    assert not best.update(6, {"auc": 0.5})
    assert best.should_stop


def test_following_nothing_never_gives_up():
    best = EarlyStopping(None, None, [{"step": 2, "split": "validation", "loss": 0.6}])

    assert not best.update(4, {"loss": 0.1})
    assert (best.step, best.should_stop) == (None, False)


def test_a_number_that_the_validation_has_not_is_named_with_those_that_it_has():
    with pytest.raises(ConfigError, match=r"no number 'acc'. It has: auc, loss"):
        EarlyStopping("acc", None, []).update(1, {"auc": 0.5, "loss": 0.7})


def test_a_number_that_could_not_be_measured_is_neither_better_nor_worse():
    best = EarlyStopping("sampled/win_rate", 1, [])
    taken = [
        best.update(step, {"sampled/win_rate": value}) for step, value in enumerate([None, 0.5, None, 0.6], start=1)
    ]

    assert taken == [False, True, False, True]
    assert (best.step, best.should_stop) == (4, False)


def test_stopping_early_needs_a_number():
    with pytest.raises(ConfigError, match=r"train.early_stop needs train.keep_best"):
        TrainSettings(early_stop=3)


# --- in a run


SCRIPT = [0.5, 0.9, 0.6, 0.7, 0.8, 0.4]
"""What the validations after steps 1, 2 ... are said to find."""


class Crash(Exception):
    """What kills a run."""


class Run:
    """A run of six steps that is validated after each, with scripted numbers."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.policy = folder / "run", policy_for(KTO)
        self.settings = TrainSettings(
            lr=5e-3,
            batch_size=4,
            epochs=1,
            **{"validate_every": 1, "keep_best": "score", "checkpoint_every": 1} | settings,
        )
        if not (folder / "train").exists():
            make_store(folder / "train", KTO, 24).close()
            make_store(folder / "held out", KTO, 6, seed=1).close()
        self.base = folder
        self.killed_at: int | None = None
        self.script = SCRIPT
        self.weights: list[torch.Tensor] = []

    def measure(self, step: int, _: Validation) -> dict[str, float]:
        self.weights.append(self.now())
        if step == self.killed_at:
            raise Crash
        done = [line for line in read_metrics(self.folder / "metrics.jsonl") if line["split"] == "validation"]
        return {"score": self.script[len(done)]}

    def now(self) -> torch.Tensor:
        return torch.cat([weight.detach().flatten().clone() for weight in self.policy.trainable().values()])

    def go(self, *, stop_after: int | None = None) -> Any:
        from haloes.tokens.store import TokenStore

        steps = iter(range(1, 100))
        job = make_job(
            self.folder,
            KTO,
            train=TokenStore(self.base / "train"),
            validation=TokenStore(self.base / "held out"),
            policy=self.policy,
            settings=self.settings,
            measure=self.measure,
            stop=lambda: next(steps) == stop_after,
        )
        return train(job)

    def validated(self) -> list[int]:
        return [line["step"] for line in read_metrics(self.folder / "metrics.jsonl") if line["split"] == "validation"]


def test_the_result_is_the_model_after_the_best_step(tmp_path: Path):
    run = Run(tmp_path)
    outcome = run.go()

    assert outcome.best_step == 2
    assert torch.equal(run.now(), run.weights[1])
    assert not torch.equal(run.now(), run.weights[-1])
    assert run.validated() == [1, 2, 3, 4, 5, 6]
    again = Run(tmp_path / "again")
    assert again.go().validation is not None
    np.testing.assert_array_equal(again.go().validation.logp, outcome.validation.logp)


def test_a_run_that_grows_no_better_is_ended_and_is_over_when_resumed(tmp_path: Path):
    run = Run(tmp_path, early_stop=3)
    outcome = run.go()

    assert outcome.best_step == 2
    assert run.validated() == [1, 2, 3, 4, 5]
    resumed = Run(tmp_path, early_stop=3)
    assert resumed.go().best_step == 2
    assert resumed.validated() == [1, 2, 3, 4, 5]
    assert torch.equal(resumed.now(), run.now())


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path, stop_after: int):
    whole = Run(tmp_path / "whole")
    whole.go()
    run = Run(tmp_path / "parts")
    with pytest.raises(Interrupted):
        run.go(stop_after=stop_after)
    resumed = Run(tmp_path / "parts")
    resumed.go()

    assert torch.equal(resumed.now(), whole.now())
    assert resumed.validated() == whole.validated()


def test_rows_that_choose_are_validated_on_while_training_and_the_others_at_the_end(tmp_path: Path):
    train_store, reported = make_store(tmp_path / "train", KTO, 12), make_store(tmp_path / "reported", KTO, 6, seed=1)
    choosing, seen = make_store(tmp_path / "choosing", KTO, 8, seed=2), []

    def measure(_: int, validation: Validation) -> dict[str, float]:
        seen.append(len(validation.sequences))
        return {"score": 1.0}

    outcome = train(
        make_job(
            tmp_path / "run",
            KTO,
            train=train_store,
            validation=reported,
            selection=choosing,
            settings=TrainSettings(lr=5e-3, batch_size=4, epochs=1, validate_every=1, keep_best="score"),
            measure=measure,
        )
    )

    assert seen == [8, 8, 8]
    assert outcome.best_step == 1
    assert len(outcome.validation.sequences) == 6


def test_without_held_out_feedback_there_is_no_best(tmp_path: Path):
    store = make_store(tmp_path / "train", KTO, 8)

    settings = TrainSettings(lr=1e-3, batch_size=4, epochs=1, keep_best="auc")
    with pytest.raises(ConfigError, match=r"train.keep_best needs held-out feedback"):
        train(make_job(tmp_path / "run", KTO, train=store, settings=settings))


def test_best_weights_that_are_damaged_are_named(tmp_path: Path):
    run = Run(tmp_path)
    run.go()
    [best] = (tmp_path / "run" / "best").iterdir()
    (best / "weights.safetensors").write_bytes(b"no")

    outcome = Run(tmp_path).go()

    assert "is damaged and is passed over" in outcome.damaged[0]
    assert (
        "the weights after step 2, where score was best, are gone: the result is the model after" in outcome.damaged[1]
    )
    assert outcome.best_step is None
    assert json.loads((best / "manifest.json").read_text())


def steps_of_best(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run" / "best").iterdir())


def test_after_a_kill_between_a_new_best_and_the_next_checkpoint_the_older_best_is_still_there(tmp_path: Path):
    run = Run(tmp_path, checkpoint_every=3)
    run.script, run.killed_at = [0.5, 0.9, 0.6, 0.7, 0.95], 6
    with pytest.raises(Crash):
        run.go()
    assert steps_of_best(tmp_path) == ["step-00000002", "step-00000005"]
    # Not validated at step 5 again: that of step 2 is the best, whose weights must be those that are saved.
    resumed = Run(tmp_path, checkpoint_every=3, validate_every=6)
    outcome = resumed.go()

    assert outcome.best_step == 2
    assert torch.equal(resumed.now(), run.weights[1])
    assert steps_of_best(tmp_path) == ["step-00000002"]


def test_a_lost_log_of_metrics_does_not_forget_the_best(tmp_path: Path):
    run = Run(tmp_path)
    with pytest.raises(Interrupted):
        run.go(stop_after=4)
    (tmp_path / "run" / "metrics.jsonl").unlink()

    outcome = Run(tmp_path).go()

    assert outcome.best_step == 2
    assert [text for text in outcome.damaged if "metrics.jsonl was damaged; it was restored" in text]
