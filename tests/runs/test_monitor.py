"""Alarms while training: each says what, how much, and what to do; and each is given once."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.progress.contract import NullProgress
from haloes.records import Completion
from haloes.runs.align import align
from haloes.runs.config import WatchSettings
from haloes.runs.monitor import Alarms
from haloes.sampling.generate import sample
from haloes.training.metrics_log import read_metrics
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
        ({"kl": 51}, "kl", "is 51 nats an answer, above watch.kl=50"),
        ({"kl": 51, "kl/low": 40, "kl/high": 70}, "kl", "is 51 [40, 70] nats an answer, above watch.kl=50"),
    ],
)
def test_each_limit_has_an_alarm_that_says_what_to_do(numbers: dict[str, float], name: str, text: str):
    found = given(validation(**numbers))

    assert list(found) == [name]
    assert found[name].startswith("step 10: ")
    assert text in found[name]
    assert any(word in found[name] for word in ("lower train.lr", "finished: false"))


@pytest.mark.parametrize(
    ("share", "lost", "gained", "p_value"),
    [
        (0.69, 6, 0, "0.031"),  # 2 of the 2^6 ways of six coins: 2 / 64
        (0.3, 10, 1, "0.012"),  # 2 (1 + 11) / 2^11
    ],
)
def test_fewer_ends_of_turn_than_chance_takes_away_are_told_with_their_count(
    share: float, lost: int, gained: int, p_value: str
):
    found = given(validation(finished=share, **{"finished/lost": lost, "finished/gained": gained}))

    points = round(90 - 100 * share)
    assert f"the model ends {share:.0%} of its answers itself, {points} points less" in found["end of turn"]
    assert f"({lost} prompts lost their end, {gained} gained one, exact p = {p_value})" in found["end of turn"]
    assert "finished: false" in found["end of turn"]


@pytest.mark.parametrize(
    ("share", "lost", "gained", "limit"),
    [
        (0.0, 5, 0, 0.2),  # of so few prompts all may lose it by chance: 2 / 2^5 = 0.06
        (0.5, 8, 1, 0.45),  # 2 (1 + 9) / 2^9 = 0.04: no chance, but 40 points are within the limit
        (0.5, 9, 3, 0.2),  # 0.15
    ],
)
def test_what_may_be_chance_or_is_little_is_no_alarm(share: float, lost: int, gained: int, limit: float):
    counts = {"finished/lost": lost, "finished/gained": gained}

    assert given(validation(finished=share, **counts), finished=limit) == {}


def test_a_run_of_before_these_counts_has_no_such_alarm():
    assert given(validation(finished=0.1)) == {}


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


def test_rewards_of_both_classes_that_stay_low_for_eight_steps_are_told():
    found = given(*(step(number, -2, -3) for number in range(1, 8)), step(8, -2.5, -4))

    assert found["rewards"].startswith("step 8: the rewards of both classes have fallen (-2.5 and -4.0 nats)")


def test_steps_that_scatter_about_zero_are_no_falling_rewards():
    # Means of few answers scatter by nats once the policy has moved; three low ones in a row come by chance.
    desirable = np.random.default_rng(0).normal(0, 2, 100)
    in_threes = np.convolve(desirable < -1, np.ones(3), mode="valid")

    assert in_threes.max() == 3
    assert given(*(step(number, good, -9) for number, good in enumerate(desirable))) == {}


@pytest.mark.parametrize(
    "lines",
    [
        [step(i, -2, -3) for i in range(7)],
        [*(step(i, -2, -3) for i in range(7)), step(7, 0, -3), *(step(i, -2, -3) for i in range(8, 15))],
        [step(i, 0.5, -9) for i in range(20)],
        [{"step": i, "split": "train", "reward/desirable": -5.0} for i in range(20)],
    ],
    ids=["seven steps", "interrupted", "one class", "one label"],
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


class Noting(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_answers_prompts_at_each_validation_and_its_alarms_are_shown_and_kept(tmp_path: Path):
    model, source = save_model(tmp_path / "model", seed=1), write_rows(tmp_path / "rows.jsonl", thumbs())
    progress = Noting()
    watch = {"prompts": 2, "kl": 1e-6}
    train = {"validate_every": 1, "keep_best": "sampled/words"}
    made = config(model, source, watch=watch, train=train, samples={"prompts": 3, "max_new_tokens": 8})

    align(made, tmp_path / "run", progress=progress)

    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["split"] == "validation"]
    assert len(lines) > 1
    names = {"sampled/words", "sampled/repetition", "sampled/finished", "sampled/kl"}
    assert all(names <= set(line) for line in lines)
    assert all(line[f"{name}/low"] <= line[name] <= line[f"{name}/high"] for line in lines for name in names)
    assert all(line["sampled/finished/lost"] + line["sampled/finished/gained"] <= 2 for line in lines)
    [shown] = [text for text in progress.notes if text.startswith("alarm: step 1: the KL divergence")]
    warnings = [item["message"] for item in json.loads((tmp_path / "run" / "warnings.json").read_text())]
    assert shown.removeprefix("alarm: ") in warnings


def test_of_one_prompt_there_is_no_divergence_with_an_interval_and_the_run_goes_on(tmp_path: Path):
    model, source = save_model(tmp_path / "model", seed=1), write_rows(tmp_path / "rows.jsonl", thumbs())
    sections = {"watch": {"prompts": 1}, "train": {"validate_every": 1}, "samples": {"prompts": 2, "max_new_tokens": 4}}

    align(config(model, source, **sections), tmp_path / "run")

    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["split"] == "validation"]
    assert len(lines) > 1
    assert all("sampled/words" in line and "sampled/kl" not in line for line in lines)
    assert not any(name.startswith("sampled/") and name.endswith(("/low", "/high")) for name in lines[0])


def test_ends_of_turn_are_paired_by_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, source = save_model(tmp_path / "model", seed=1), write_rows(tmp_path / "rows.jsonl", thumbs(40))
    number = itertools.count()

    def ending(*arguments: Any, variant: str, **settings: Any) -> list[Completion]:
        # Of eight prompts before training all but the last end; then all but the first: one is lost, and one gained.
        without = 0 if variant == "during" and next(number) else -1
        made = sample(*arguments, variant=variant, **settings)
        return [dataclasses.replace(answer, finished=i != without % len(made)) for i, answer in enumerate(made)]

    monkeypatch.setattr("haloes.runs.measure_and_save.sample", ending)
    sections = {"watch": {"prompts": 8}, "train": {"validate_every": 1}, "samples": {"prompts": 8, "max_new_tokens": 4}}
    align(config(model, source, **sections), tmp_path / "run")

    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["split"] == "validation"]
    changes = [(line["sampled/finished/lost"], line["sampled/finished/gained"]) for line in lines]
    assert changes[:2] == [(0, 0), (1, 1)]
    assert {line["sampled/finished"] for line in lines} == {7 / 8}


def test_a_divergence_beyond_the_budget_is_told_before_it_is_an_alarm_of_the_watch():
    alarms = Alarms(BEFORE, WatchSettings(), kl_budget=5.0)
    for kl in (4.9, 6.0, 51.0):
        alarms.take(validation(kl=kl))

    assert list(alarms.given) == ["kl budget", "kl"]
    assert "is 6 nats an answer, above train.kl_budget=5" in alarms.given["kl budget"]
