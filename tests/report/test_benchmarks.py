"""Benchmarks on the page: before, after and the difference, escaped, within the window, and damage that is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from haloes.report.benchmarks import sides
from haloes.report.load import load_run
from haloes.report.page import write_report


def score(variant: str, value: float, **rest: Any) -> dict[str, Any]:
    low, high = value - 0.1, value + 0.1
    counts = {"num_rows": 200, "num_clusters": 200, "method": "bootstrap", "label": "exact match"}
    return {"name": "benchmark", "value": value, "low": low, "high": high, "variant": variant, **counts, **rest}


def result(name: str, *, word: str = "algebra") -> dict[str, Any]:
    sides = [score("before", 0.4), score("after", 0.55)]
    change = {
        "score": score("difference", 0.15, low=0.02, high=0.28),
        "test": {"up": 41, "down": 11, "same": 148, "p_value": 0.012},
        "p_holm": 0.024,
    }
    return {
        "name": name,
        "title": name.upper(),
        "label": "exact match",
        "scores": sides,
        "change": change,
        "others": [{**one, "label": "strict"} for one in sides],
        "subtasks": [{**one, "label": word} for one in sides],
        "questions": 200,
        "of": 1319,
        "asked": "200 of 1,319 questions, drawn with seed 0",
        "notes": [f"{word}: 3 prompts did not fit"],
    }


def with_benchmarks(run_dir: Path, *results: dict[str, Any]) -> Path:
    found = {"judged": None, "benchmarks": {"results": results, "notes": ["bbh: after is left out"]}}
    (run_dir / "evaluation.json").write_text(json.dumps(found))
    return run_dir


def page(run_dir: Path) -> str:
    return " ".join(write_report(run_dir).read_text(encoding="utf-8").split())


def test_before_after_and_difference_stand_beside_each_other_with_intervals(run_dir: Path):
    html = page(with_benchmarks(run_dir, result("gsm8k"), result("mmlu")))
    for expected in (
        '<a href="#benchmarks">Benchmarks</a>',
        "GSM8K<small>exact match</small>",
        '<span class="value">40%</span>',
        "30% to 50%",
        '<span class="value">55%</span>',
        '<span class="value">+15 points</span>',
        "+2 to +28",
        "<small>p = 0.024</small>",
        "corrected for 2 benchmarks by Holm's method",
        "200 of 1,319 questions, drawn with seed 0. 41 questions gained, 11 lost, 148 as before (exact p = 0.012).",
        "148 as before (exact p = 0.012). strict, before: 40% (30% to 50%); strict, after: 55% (45% to 65%).",
        "MMLU: subtasks",
        "algebra: 3 prompts did not fit",
        "bbh: after is left out",
    ):
        assert expected in html, expected


def test_one_side_alone_is_shown_without_a_difference(run_dir: Path):
    only = {**result("gsm8k"), "scores": [score("after", 0.55)], "change": None, "subtasks": [], "others": []}
    (found,) = load_run(with_benchmarks(run_dir, only)).benchmarks.results
    assert (sides(found).before, found.change) == (None, None)
    html = page(run_dir)
    assert "questions gained" not in html
    assert "corrected for" not in html


def test_a_run_without_benchmarks_says_nothing_of_them(run_dir: Path):
    assert "Benchmarks" not in page(run_dir)
    (run_dir / "evaluation.json").write_text(json.dumps({"judged": None, "benchmarks": None}))
    assert load_run(run_dir).benchmarks.results == ()


def test_hostile_names_are_shown_and_not_run(run_dir: Path):
    html = page(with_benchmarks(run_dir, result("<script>alert(1)</script>", word="<img src=x>")))
    assert "<script>alert" not in html.lower()
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html


@pytest.mark.parametrize("content", [3, {}, {"results": [{}], "notes": []}, {"results": 1, "notes": []}])
def test_damage_is_named_and_the_rest_of_the_page_stays(run_dir: Path, content: Any):
    (run_dir / "evaluation.json").write_text(json.dumps({"judged": None, "benchmarks": content}))
    run = load_run(run_dir)
    assert run.benchmarks.results == ()
    assert content == {} or any(gap.startswith("evaluation.json: left out") for gap in run.gaps)
    assert "</html>" in page(run_dir)
