"""The report of a reward model: its figure, its headline, its curves, and what it has not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.report.card import card
from haloes.report.curves import training_charts
from haloes.report.headline import headline
from haloes.report.load import load_run
from haloes.report.page import page
from haloes.report.reliability import reliability
from haloes.results import Reliability
from haloes.results_json import from_json

BINS = [
    {"predicted": 0.55, "desirable": 0.5, "low": 0.3, "high": 0.7, "num_rows": 20},
    {"predicted": 0.8, "desirable": 0.6, "low": 0.4, "high": 0.78, "num_rows": 20},
]


def score(name: str, value: float, low: float, high: float, variant: str = "after") -> dict[str, Any]:
    return {
        "name": name, "value": value, "low": low, "high": high, "variant": variant, "num_rows": 40,
        "num_clusters": 38, "method": "made up",
    }  # fmt: skip


def reward_run(bare_run: Callable[..., Path], low: float = 0.55, high: float = 0.8, **files: Any) -> Path:
    return bare_run(
        config_yaml={"model": {"name": "tiny"}, "loss": {"name": "bradley-terry"}, "samples": {"prompts": 0}},
        scores_jsonl=[
            score("pair_accuracy", 0.5, 0.5, 0.5, "before"),
            score("pair_accuracy", (low + high) / 2, low, high),
            score("reward_length", 0.3, 0.1, 0.5),
        ],
        calibration_json={"bins": BINS, "expected_error": 0.125, "expected_error_by_chance": 0.14},
        metrics_jsonl=[
            {"step": 1, "split": "train", "loss": 0.7, "accuracy": 0.5, "model_reward/desirable": 0.0,
             "model_reward/undesirable": 0.0},
            {"step": 2, "split": "train", "loss": 0.6, "accuracy": 0.75, "model_reward/desirable": 0.4,
             "model_reward/undesirable": -0.3},
            {"step": 2, "split": "validation", "loss": 0.6, "accuracy": 0.7, "accuracy/low": 0.55,
             "accuracy/high": 0.8},
        ],
        **files,
    )  # fmt: skip


def test_the_figure_shows_every_bin_and_says_how_far_they_are_off():
    found = reliability(
        from_json(Reliability, {"bins": BINS, "expected_error": 0.125, "expected_error_by_chance": 0.14})
    )

    assert found is not None
    assert found.plot.count("<circle") == 2
    assert 'aria-label="said 55%, right 50%; said 80%, right 60%"' in found.plot
    assert "12.5 points apart; a calibrated model would stay below 14.0 in 95% of cases" in found.caption


@pytest.mark.parametrize("broken", [{}, {"bins": "x"}, {"bins": [{"predicted": 2}]}, {"bins": [None]}, {"bins": []}])
def test_what_cannot_be_drawn_is_left_out(broken: dict[str, Any], bare_run: Callable[..., Path]):
    run = load_run(bare_run(calibration_json=broken))

    assert reliability(run.calibration) is None
    assert broken == {} or run.gaps[0].startswith("calibration.json: left out (")


@pytest.mark.parametrize("bins", [[], [{**BINS[0], "predicted": 2}]])
def test_a_calibration_without_a_bin_that_can_be_drawn_has_no_figure(bins: list[dict[str, Any]]):
    found = {"bins": bins, "expected_error": 0.1, "expected_error_by_chance": 0.1}

    assert reliability(from_json(Reliability, found)) is None


def test_a_reward_model_that_ranks_unseen_answers_says_so(bare_run: Callable[..., Path]):
    found = headline(load_run(reward_run(bare_run)))

    assert (found.verdict, found.title) == ("signal", "The reward model ranks unseen answers as people did")
    assert "a coin gets 50%), of 40 pairs of answers to 38 prompts" in found.sentence


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [(0.45, 0.6, "unclear", "not clearly above a coin"), (0.2, 0.4, "worse", "below a coin")],
)
def test_one_that_does_not_says_that(low: float, high: float, verdict: str, words: str, bare_run: Callable[..., Path]):
    found = headline(load_run(reward_run(bare_run, low, high)))

    assert found.verdict == verdict
    assert words in found.sentence


def test_the_page_has_its_figures_and_no_answers(bare_run: Callable[..., Path]):
    run = load_run(reward_run(bare_run))
    html = page(run)

    assert [chart.title for chart in training_charts(run)][:3] == [
        "Loss by step",
        "Pair accuracy by step",
        "Rewards of chosen and rejected answers by step",
    ]
    assert "How sure the reward model is" in html
    assert 'id="answers"' not in html
    assert "samples.jsonl" not in run.missing
    assert "samples.jsonl" in load_run(bare_run(config_yaml={"samples": {"prompts": 3}})).missing


def test_the_card_says_how_to_score(bare_run: Callable[..., Path]):
    text = card(load_run(reward_run(bare_run)), base=None, is_reward_model=True)

    assert "pipeline_tag: text-classification" in text
    assert "reward-model" in text
    assert "AutoModelForSequenceClassification" in text
    assert "| Held-out pairs ranked as people did | 50% " in text


def test_a_loss_on_pairs_that_is_no_reward_model_has_no_chart_of_held_out_accuracy(bare_run: Callable[..., Path]):
    folder = bare_run(metrics_jsonl=[{"step": 1, "split": "train", "loss": 0.7, "accuracy": 0.5}])

    assert "Pair accuracy by step" not in [chart.title for chart in training_charts(load_run(folder))]
