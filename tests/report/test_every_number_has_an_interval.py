"""Walks through all tables of all pages and terminals: a measured number has an interval, or says why it has none."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from haloes.cli.views.compare import comparison_tables
from haloes.cli.views.evaluation import evaluation_lines
from haloes.cli.views.run import summary_lines
from haloes.cli.views.tables import scores_table
from haloes.evaluation.judge_free import answer_numbers
from haloes.evaluation_results import Evaluation
from haloes.records import Completion
from haloes.report.card import write_card
from haloes.report.compare_page import compare_page
from haloes.report.compared import ComparedRuns
from haloes.report.load import load_run
from haloes.report.numbers import NO_SPREAD
from haloes.report.page import write_report
from haloes.results import JudgeFree, PairedDifference, Score
from haloes.results_json import from_json
from report_folders import evaluation, matchup

INTERVAL = re.compile(r"[−+\d.,%]+ to [−+\d.,%]+")
REASONS = (NO_SPREAD, "by definition", "one person's", "none: ")
"""What stands in the place of an interval."""


class Cells(HTMLParser):
    """The cells of a page's tables: their label, what stands in them, and each number with what stands beside it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[tuple[str, str]] = []
        self.pairs: list[list[str]] = []
        self._cell: str | None = None
        self._label, self._span, self._is_of_results = "", "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            # The other tables are of settings.
            self._is_of_results = "results" in (given.get("class") or "")
        if tag == "td" and self._is_of_results:
            self._cell, self._label = "", given.get("data-label") or ""
        if tag == "span":
            self._span = given.get("class") or ""
            if self._span == "value":
                self.pairs.append(["", ""])

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._cell is not None:
            self.cells.append((self._label, " ".join(self._cell.split())))
            self._cell = None
        if tag == "span":
            self._span = ""

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell += data
        if self._span in {"value", "interval"}:
            self.pairs[-1][self._span == "interval"] += data


def is_told(text: str) -> bool:
    """Whether an interval or a reason stands in this text."""
    return bool(INTERVAL.search(text)) or any(reason in text for reason in REASONS)


def untold(html: str) -> list[str]:
    """The cells with a number that have neither; a p-value is one by itself."""
    found = Cells(html)
    assert found.pairs
    bare = [value for value, beside in found.pairs if not is_told(beside)]
    return bare + [
        text
        for label, text in found.cells
        if re.search(r"\d", text) and label not in {"p", "p (Holm)"} and not is_told(text)
    ]


def benchmark() -> dict[str, Any]:
    def side(variant: str, value: float) -> dict[str, Any]:
        counts = {"num_rows": 200, "num_clusters": 200, "method": "bootstrap", "label": "exact match"}
        return {
            "name": "benchmark",
            "variant": variant,
            "value": value,
            "low": value - 0.1,
            "high": value + 0.1,
            **counts,
        }

    both = [side("before", 0.4), side("after", 0.55)]
    test = {"up": 41, "down": 11, "same": 148, "p_value": 0.012}
    return {
        "name": "gsm8k",
        "title": "GSM8K",
        "label": "exact match",
        "scores": both,
        "change": {"score": side("difference", 0.15), "test": test, "p_holm": 0.024},
        "others": both,
        "subtasks": [{**one, "label": "algebra"} for one in both],
        "questions": 200,
        "of": 1319,
        "asked": "200 of 1,319 questions",
        "notes": [],
    }


@pytest.fixture
def full_run(run_dir: Path) -> Path:
    """A run that was judged, asked a benchmark, and has a number by definition and one without spread."""
    found = {**evaluation(), "benchmarks": {"results": [benchmark()], "notes": []}}
    (run_dir / "evaluation.json").write_text(json.dumps(found))
    rows = [json.loads(line) for line in (run_dir / "scores.jsonl").read_text().splitlines()]
    known = [
        {**row, "no_interval": "by definition"} if (row["name"], row["variant"]) == ("auc", "before") else row
        for row in rows
    ]
    (run_dir / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
    return run_dir


def score(value: float, name: str = "auc", variant: str = "after") -> Score:
    return Score(
        name=name,
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        variant=variant,
        num_rows=40,
        num_clusters=20,
        method="m",
    )


def compared(*folders: Path) -> ComparedRuns:
    difference = PairedDifference(
        model="a", other="b", score=score(0.1, "auc", "difference"), p_value=0.02, p_holm=0.04
    )
    return ComparedRuns(
        names=("a", "b"),
        runs=tuple(load_run(folder) for folder in folders),
        num_held_out=(40, 50),
        num_shared=30,
        aucs=(score(0.7), None),
        shared_aucs=(score(0.72), score(0.6)),
        beside_auc=((score(0.55, "auc_length"), score(0.55, "auc_length")),),
        auc_differences=(difference,),
        auc_differences_at_equal_length=(replace(difference, p_holm=0.5),),
        win_rates=(matchup("a", "j", score(0.66, "win_rate"), score(0.55, "length_controlled_win_rate")),),
        win_rate_differences=(difference,),
        notes=(),
    )


def test_on_a_runs_page(full_run: Path):
    html = write_report(full_run).read_text(encoding="utf-8")

    assert untold(html) == []
    assert '<span class="interval" title="by definition. percentile' in html


def test_the_walk_finds_a_number_without_one(full_run: Path):
    html = write_report(full_run).read_text(encoding="utf-8")

    assert untold(html.replace(">51% to 70%<", "><")) != []
    assert untold(html.replace('<td data-label="● After"', '<td>0.71</td><td data-label="● After"', 1)) == ["0.71"]


def test_on_the_page_of_several_runs(full_run: Path, small_run: Path):
    found = compared(full_run, small_run)
    html = compare_page(found)

    assert untold(html) == []
    # Beside the settings and in the sentences too.
    settings = html[html.index('id="settings"') : html.index('id="held-out"')]
    assert "KL" not in settings or "95% interval" in settings
    assert "AUC of length alone: 0.55 (95% interval 0.45 to 0.65)" in html


def rendered(lines: Iterator[Any] | list[Any]) -> str:
    console = Console(width=220, file=None, record=True, color_system=None)
    with console.capture() as captured:
        for line in lines:
            console.print(line)
    return captured.get()


def answers() -> list[Completion]:
    return [
        Completion(
            prompt_id=f"p{i}", prompt="?", completion=f"word{i} and so on", model=side, num_tokens=4, finished=True
        )
        for i in range(4)
        for side in ("before", "after")
    ]


def test_in_the_terminal_of_a_run_and_of_several(full_run: Path, small_run: Path):
    for text in (rendered(summary_lines(full_run)), rendered(comparison_tables(compared(full_run, small_run)))):
        lines = text.splitlines()
        numbers = [
            i for i, line in enumerate(lines) if re.search(r"^ ?(AUC|KL|Words|Repeated|Answers that end)\b", line)
        ]
        assert numbers
        for i in numbers:
            assert is_told(f"{lines[i]} {lines[i + 1] if i + 1 < len(lines) else ''}"), lines[i]


def test_in_the_terminal_of_an_evaluation(full_run: Path):
    scores = answer_numbers(answers())
    told = {line.split("  ")[0] for line in rendered([scores_table("t", scores)]).splitlines() if is_told(line)}
    assert told == {one.label or one.name for one in scores}

    read = from_json(Evaluation, {"judge_free": [], "alpaca_eval": None, **json.loads(_evaluation(full_run))})
    text = rendered(
        evaluation_lines(replace(read, judge_free=(JudgeFree(source="s", scores=tuple(scores), calibration=None),)))
    )
    for line in text.splitlines():
        if re.search(r"(rate|place|order|length|chosen):? ", line) and "%" in line and "4 of 5 tries" not in line:
            assert is_told(line), line


def _evaluation(run_dir: Path) -> str:
    return (run_dir / "evaluation.json").read_text()


def test_on_the_model_card(full_run: Path, tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    card = write_card(full_run, tmp_path / "model").read_text(encoding="utf-8")
    table = card[card.index("| Measure |") :].split("\n\n")[0].splitlines()[2:]

    assert len(table) > 5
    for line in table:
        cells = [cell for cell in line.split("|")[2:] if re.search(r"\d", cell)]
        assert all(map(is_told, cells)), line
