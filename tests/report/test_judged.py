"""What judges said, on the page: numbers, verdicts beside the answers, alarms, and damage that is named."""

import json
import re
from pathlib import Path

import pytest

from haloes.evaluation_results import JudgedPair
from haloes.report.judged import position_note, together
from haloes.report.load import load_run
from haloes.report.page import write_report
from haloes.report.samples import sides_of_prompts
from haloes.results import Score


def page(run_dir: Path) -> str:
    return " ".join(write_report(run_dir).read_text(encoding="utf-8").split())


def verdict(outcome: str) -> JudgedPair:
    preference = {"won": 1.0, "tied": 0.5, "beaten": 0.0, "unscored": None}[outcome]
    return JudgedPair(prompt_id="p", candidate="after", baseline="before", judge="j", preference=preference)


def test_the_numbers_of_the_judges_are_on_the_page(judged_run_dir: Path):
    html = page(judged_run_dir)

    for expected in (
        "What judges said",
        "after against before",
        "by gpt, both orders",
        "by rule, both orders",
        "12 won",
        "1 unscored",
        "Win rate at equal length",
        "At equal length: of one model alone.",
        "Verdicts for the first place",
        "Preference for answers that only ask to be chosen",
        "−400 to −20 characters",
        "Cohen&#39;s kappa of gpt and rule",
        "Sign test: p = 0.36",
        "23 prompts show (in 4 of 5 tries) a win rate that is 28 points or more from one half.",
    ):
        assert expected in html, expected
    assert html.index(">Win rate<") < html.index("Win rate at equal length")


def test_each_pair_of_answers_has_its_verdicts_and_a_filter(judged_run_dir: Path):
    html = page(judged_run_dir)
    sides = sides_of_prompts(load_run(judged_run_dir))

    assert [side.judged for side in sides[:8]] == ["tied", "won", "won", "beaten", "won", "won", "tied", "unscored"]
    # Of 24: four ties, one unscored, four of the rest lost.
    assert "after won 15" in html
    assert "before won 4" in html
    assert "tied 4" in html
    assert html.count("its verdict flips with the order") == 8
    assert len(re.findall(r'<article class="pair \w+ won', html)) == 15


def rate(value: float, low: float, high: float) -> Score:
    return Score(name="rate", variant="j", method="", value=value, low=low, high=high, num_rows=24, num_clusters=24)


@pytest.mark.parametrize(
    ("bias", "flips", "words"),
    [
        ((1, 0.8, 1), (1, 0.6, 1), "100% of its verdicts are for the answer that stands first, and 100% flip"),
        ((0.05, 0, 0.2), (0.9, 0.7, 1), "95% of its verdicts are for the answer that stands second, and 90% flip"),
        ((1, 0.3, 1), (1, 0.3, 1), "goes by position"),  # two prompts, and nothing but flips
        ((0.6, 0.4, 0.8), (0.7, 0.45, 0.9), None),  # a coin is not excluded
        ((0.5, 0.4, 0.6), (0, 0, 0.2), None),
    ],
)
def test_a_judge_that_goes_by_position_is_told_to_say_nothing(
    bias: tuple[float, ...], flips: tuple[float, ...], words: str | None
):
    note = position_note(rate(*bias), rate(*flips))

    assert note is None if words is None else words in str(note)


def test_without_pairs_in_both_orders_nothing_is_said_of_the_judge():
    assert position_note(None, None) is None


def test_the_page_says_that_a_judge_goes_by_position(judged_run_dir: Path):
    path = judged_run_dir / "evaluation.json"
    content = json.loads(path.read_text())
    for rate_of in ("position_bias", "flip_rate"):
        content["judged"]["matchups"][0][rate_of] |= {"value": 1.0, "low": 0.8, "high": 1.0}
    said = "This judge goes by position: 100% of its verdicts are for the answer that stands first"
    assert said not in page(judged_run_dir)
    path.write_text(json.dumps(content))

    assert page(judged_run_dir).count(said) == 1


def test_an_alarm_stands_apart_from_other_warnings(judged_run_dir: Path):
    html = page(judged_run_dir)

    assert re.search(r"Alarms while training</h3> <ul[^>]*> <li[^>]*><b>alarm</b> step 120: answers have 210", html)
    assert html.count("step 120: answers") == 1
    assert "Three prompts have one answer" in html


def test_a_run_that_was_not_judged_says_nothing_of_judges(run_dir: Path):
    html = page(run_dir)

    assert "What judges said" not in html
    assert "Alarms while training" not in html
    assert "show-won" not in html.partition("</style>")[2]


@pytest.mark.parametrize("content", ["{", "[]", '{"judged": {}}', '{"judged": 3}', '{"judged": {"comparisons": [1]}}'])
def test_a_damaged_evaluation_is_named_and_left_out(run_dir: Path, content: str):
    (run_dir / "evaluation.json").write_text(content)
    run = load_run(run_dir)

    assert run.judged.matchups == ()
    if content != '{"judged": {}}':
        assert any(gap.startswith("evaluation.json") for gap in run.gaps)
    assert "</html>" in page(run_dir)


def test_hostile_names_of_judges_are_shown_and_not_run(judged_run_dir: Path):
    path = judged_run_dir / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text())).replace('"gpt"', '"<script>alert(1)</script>"'))

    assert "<script>" not in page(judged_run_dir)
    assert "&lt;script&gt;" in page(judged_run_dir)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["won"], "won"),
        (["won", "beaten"], "tied"),
        (["won", "tied"], "won"),
        (["beaten", "beaten", "won"], "beaten"),
        (["unscored", "beaten"], "beaten"),
        (["unscored"], "unscored"),
    ],
)
def test_judges_of_one_pair_speak_together(outcomes: list[str], expected: str):
    assert together([verdict(outcome) for outcome in outcomes]) == expected
