"""Alarms while training: each says what, how much, and what to do; and each is given once."""

import json
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.recipes.alarms import Alarms, WatchSettings
from haloes.recipes.align import align
from haloes.recipes.watch import Silent
from haloes.training.log import read_metrics
from tiny_runs import config, save_model, thumbs, write_rows

BEFORE = {"sampled/words": 40.0, "sampled/repetition": 0.05, "sampled/finished": 0.9}


def validation(step: int = 10, **numbers: float) -> dict[str, Any]:
    named = {f"sampled/{name}": value for name, value in numbers.items()}
    return {"step": step, "split": "validation", **BEFORE, **named}


def given(*lines: dict[str, Any], **limits: float) -> dict[str, str]:
    alarms = Alarms(BEFORE, WatchSettings(**limits))
    for line in lines:
        alarms.take(line)
    return alarms.given


@pytest.mark.parametrize(
    ("numbers", "name", "text"),
    [
        ({"words": 81}, "longer", "answers have 81 words, 2.0 times as many as before training"),
        ({"words": 19}, "shorter", "answers have 19 words, and 40 before training"),
        ({"repetition": 0.16}, "repetition", "16% of an answer's four-word runs are repeated, 11 points more"),
        ({"finished": 0.69}, "end of turn", "the model ends 69% of its answers itself, 21 points less"),
        ({"kl": 51}, "kl", "is 51 nats an answer, above watch.kl=50"),
    ],
)
def test_each_limit_has_an_alarm_that_says_what_to_do(numbers: dict[str, float], name: str, text: str):
    found = given(validation(**numbers))

    assert list(found) == [name]
    assert found[name].startswith("step 10: ")
    assert text in found[name]
    assert any(word in found[name] for word in ("lower train.lr", "finished: false"))


@pytest.mark.parametrize(
    "numbers", [{}, {"words": 79}, {"words": 21}, {"repetition": 0.14}, {"finished": 0.71}, {"kl": 50}]
)
def test_within_the_limits_there_is_none(numbers: dict[str, float]):
    assert given(validation(**numbers)) == {}


def test_limits_can_be_moved():
    assert list(given(validation(words=50), length=1.2)) == ["longer"]
    assert given(validation(words=100, kl=60), length=3.0, kl=70.0) == {}


def test_an_alarm_is_given_once_when_it_first_shows():
    alarms = Alarms(BEFORE, WatchSettings())

    assert alarms.take(validation(5)) == []
    assert len(alarms.take(validation(10, words=90))) == 1
    assert alarms.take(validation(15, words=120)) == []
    assert alarms.given["longer"].startswith("step 10: ")


def test_without_answers_before_training_only_what_needs_none_is_watched():
    alarms = Alarms({}, WatchSettings())

    assert alarms.take({"step": 1, "split": "validation", "sampled/words": 900.0, "auc": 0.6}) == []


def step(number: int, good: float, bad: float) -> dict[str, Any]:
    return {"step": number, "split": "train", "reward/desirable": good, "reward/undesirable": bad}


def test_rewards_of_both_classes_that_fall_for_three_steps_are_told():
    found = given(step(1, -2, -3), step(2, -2, -3), step(3, -2.5, -4))

    assert found["rewards"].startswith("step 3: the rewards of both classes have fallen (-2.5 and -4.0 nats)")


@pytest.mark.parametrize(
    "lines",
    [
        [step(1, -2, -3), step(2, -2, -3)],
        [step(1, -2, -3), step(2, -2, -3), step(3, 0, -3), step(4, -2, -3)],
        [step(i, 0.5, -9) for i in range(9)],
        [{"step": i, "split": "train", "reward/desirable": -5.0} for i in range(9)],
    ],
    ids=["two steps", "interrupted", "one class", "one label"],
)
def test_other_courses_are_not(lines: list[dict[str, Any]]):
    assert given(*lines) == {}


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"prompts": -1}, "watch.prompts"), ({"length": 1.0}, "watch.length"), ({"kl": 0.0}, "watch.kl")],
)
def test_limits_out_of_range_are_refused(limits: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        WatchSettings(**limits)


# --- in a run


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_answers_prompts_at_each_validation_and_its_alarms_are_shown_and_kept(tmp_path: Path):
    model, source = save_model(tmp_path / "model", seed=1), write_rows(tmp_path / "rows.jsonl", thumbs())
    display = Noting()
    watch = {"prompts": 2, "kl": 1e-6}
    train = {"validate_every": 1, "keep_best": "sampled/words"}
    made = config(model, source, watch=watch, train=train, samples={"prompts": 3, "max_new_tokens": 8})

    align(made, tmp_path / "run", display=display)

    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["split"] == "validation"]
    assert len(lines) > 1
    names = {"sampled/words", "sampled/repetition", "sampled/finished", "sampled/kl"}
    assert all(names <= set(line) for line in lines)
    [shown] = [text for text in display.notes if text.startswith("alarm: step 1: the KL divergence")]
    warnings = [item["message"] for item in json.loads((tmp_path / "run" / "warnings.json").read_text())]
    assert shown.removeprefix("alarm: ") in warnings
