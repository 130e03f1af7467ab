"""Which charts a run's metrics give, and what their captions claim."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.report.curves import training_charts
from haloes.report.load import load_run

Write = Callable[..., Path]


def titles(folder: Path) -> list[str]:
    return [chart.title for chart in training_charts(load_run(folder))]


def row(step: int, split: str = "train", **metrics: Any) -> dict[str, Any]:
    return {"step": step, "split": split, **metrics}


def test_a_complete_run_has_all_charts(run_dir: Path) -> None:
    assert titles(run_dir) == [
        "Loss by step",
        "Held-out AUC by step",
        "Reward of desirable and undesirable answers by step",
        "Reward margin by step",
        "Reference point by step",
        "Log-probability per token by step",
        "Learning rate by step",
        "Gradient norm by step, before clipping",
    ]


def test_a_run_without_metrics_has_none(tmp_path: Path) -> None:
    assert titles(tmp_path) == []


def test_metrics_that_were_not_logged_leave_their_chart_out(bare_run: Write) -> None:
    assert titles(bare_run(metrics_jsonl=[row(1, loss=2.0), row(2, loss=1.9)])) == ["Loss by step"]


def test_a_step_of_one_label_leaves_a_hole_in_one_line_only(bare_run: Write) -> None:
    rows = [row(1, **{"reward/desirable": 0.1, "reward/undesirable": -0.1}), row(2, **{"reward/desirable": 0.2})]
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=rows)))
    assert [list(line.xs) for line in chart.lines] == [[1, 2], [1]]


def test_a_judges_win_rate_has_its_interval_and_says_what_was_asked_and_what_is_missing(bare_run: Write) -> None:
    rate = "sampled/win_rate"
    known = {rate: 0.7, f"{rate}/low": 0.5, f"{rate}/high": 0.8, f"{rate}/unscored": 3, "sampled/judge/questions": 20}
    missing = {rate: None, f"{rate}/low": None, f"{rate}/high": None, "sampled/judge/questions": 8}
    rows = [row(2, "validation", **known), row(4, "validation", **missing)]
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=rows)))

    assert chart.title == "Win rate against the start by step"
    assert [(line.xs, line.ys, line.low, line.high) for line in chart.lines] == [([2], [0.7], [0.5], [0.8])]
    assert "asked 28 questions; 3 comparisons could not be scored" in chart.caption
    assert "At 1 validation(s) there is none" in chart.caption
    assert chart.rug == (4,)
    assert chart.guides == ((0.5, "even"),)


def test_a_loss_that_is_not_a_number_is_named_and_not_drawn(bare_run: Write) -> None:
    text = '{"step": 1, "split": "train", "loss": 0.5}\n{"step": 2, "split": "train", "loss": NaN}\n'
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=text)))
    assert list(chart.lines[0].ys) == [0.5]
    assert "At 1 step(s) it was not a number, first at step 2" in chart.caption
    assert chart.rug == (2,)


def test_the_clamp_rate_of_the_reference_point_is_stated(bare_run: Write) -> None:
    z0 = "reference_point"
    rows = [
        row(step, **{f"{z0}/raw": raw, f"{z0}/standard_error": 0.1, f"{z0}/clamped": float(raw < 0)})
        for step, raw in enumerate([-0.2, 0.1, 0.3, -0.1], start=1)
    ]
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=rows)))
    assert "at 2 of 4 steps (50%)" in chart.caption
    assert chart.rug == (1, 4)
    (line,) = chart.lines
    assert list(line.low) == pytest.approx([-0.3, 0.0, 0.2, -0.2])
    assert list(line.high) == pytest.approx([-0.1, 0.2, 0.4, 0.0])


def test_the_reference_point_is_drawn_without_its_error_too(bare_run: Write) -> None:
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=[row(1, **{"reference_point/raw": 0.1})])))
    assert chart.lines[0].low == ()
    assert "counts as zero" not in chart.caption


def test_the_auc_is_drawn_with_its_interval_where_there_is_one(bare_run: Write) -> None:
    with_interval = row(5, "validation", auc=0.6, **{"auc/low": 0.5, "auc/high": 0.7})
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=[with_interval])))
    assert (list(chart.lines[0].low), list(chart.lines[0].high)) == ([0.5], [0.7])
    (plain,) = training_charts(load_run(bare_run(metrics_jsonl=[row(5, "validation", auc=0.6)])))
    assert list(plain.lines[0].ys) == [0.6]
    assert "Whiskers" not in plain.caption


def test_numbers_beyond_drawing_are_left_out(bare_run: Write) -> None:
    rows = [row(1, grad_norm=1e308), row(2, grad_norm=-1e308), row(3, grad_norm=1.0)]
    (chart,) = training_charts(load_run(bare_run(metrics_jsonl=rows)))
    assert list(chart.lines[0].ys) == [1.0]


def test_steps_whose_numbers_are_no_more_than_rounding_are_marked_and_counted(bare_run: Write) -> None:
    floors = {"reward_margin/rounding": 0.25, "reference_point/rounding": 0.1}
    rows = [
        row(1, reward_margin=-0.2, **{"reference_point/raw": 0.05, **floors}),
        row(2, reward_margin=0.3, **{"reference_point/raw": -0.09, **floors}),
        row(3, reward_margin=0.1, **{"reference_point/raw": 0.4}),
        row(4, reward_margin=0.0, **{"reference_point/raw": 0.0, **floors}),
    ]

    margin, point = training_charts(load_run(bare_run(metrics_jsonl=rows)))

    assert list(margin.rug) == [1]
    assert margin.caption.endswith("At 1 of 4 steps it is no more than rounding, marked along the bottom.")
    assert point.caption.endswith("At 2 of 4 steps it is no more than rounding.")


def test_numbers_of_sampled_answers_have_whiskers_where_their_intervals_are_known(bare_run: Write) -> None:
    words = {"sampled/words": 30.0}
    (old,) = training_charts(load_run(bare_run(metrics_jsonl=[row(1, "validation", **words)])))
    assert (list(old.lines[0].ys), old.lines[0].low, old.caption) == ([30.0], (), "")
    told = words | {"sampled/words/low": 20.0, "sampled/words/high": 50.0}
    (new,) = training_charts(load_run(bare_run(metrics_jsonl=[row(1, "validation", **told)])))
    assert (list(new.lines[0].low), list(new.lines[0].high)) == ([20.0], [50.0])
    assert "95% interval" in new.caption
