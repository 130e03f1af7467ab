"""The terminal summary: complete, fits a narrow window, and text of the run cannot command the terminal."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from haloes.cli.views.run import summary_lines
from haloes.progress.console import SafeConsole as Console
from haloes.report.page import write_report
from report_folders import QUESTIONS, write_rows

Write = Callable[..., Path]


def printed(folder: Path, *, width: int = 100, terminal: bool = False) -> str:
    colours = "standard" if terminal else None
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=colours)
    for line in summary_lines(folder):
        console.print(line)
    return console.file.getvalue()


def test_it_says_the_verdict_the_numbers_and_where_the_report_is(run_dir: Path) -> None:
    write_report(run_dir)
    text = printed(run_dir)
    assert text.startswith("Better on unseen prompts")
    assert "+43 points" in text
    assert "+32 to +53" in text
    assert "KL to the reference (nats an answer)" in text
    assert "✓ liked · 24 words" in text
    assert "✗ not liked · 61 words · cut off" in text
    assert "warning: Three prompts have one answer that was rated both ways." in text
    assert text.replace("\n", "").rstrip().endswith(f"Report: {run_dir / 'report.html'}")


def test_a_gained_a_lost_and_an_unchanged_prompt_are_shown_with_their_counts_and_the_rule(run_dir: Path) -> None:
    text = printed(run_dir, width=200)
    headings = ["Gained: 14 of 24 prompts", "Lost: 1 of 24 prompts", "Unchanged: 9 of 24 prompts"]
    assert [text.count(heading) for heading in headings] == [1, 1, 1]
    assert text.index(headings[0]) < text.index(headings[1]) < text.index(headings[2])
    assert "The first prompt of each kind, in the order of the held-out prompts." in text


def test_where_no_prompt_was_lost_that_is_said(run_dir: Path) -> None:
    ratings = run_dir / "ratings.jsonl"
    rows = [json.loads(line) for line in ratings.read_text().splitlines()]
    write_rows(ratings, [row | {"liked": row["liked"] or row["model"] == "after"} for row in rows])
    assert "Lost: none of 24 prompts" in printed(run_dir, width=200)


def test_without_verdicts_the_first_prompts_of_the_file_are_shown(moved_run: Path) -> None:
    text = printed(moved_run, width=200)
    assert all(text.count(question[:20]) == 1 for question in QUESTIONS[:3])
    assert QUESTIONS[3][:20] not in text
    assert "✓" not in text
    assert "of each kind" not in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_window(run_dir: Path, width: int) -> None:
    assert max(map(len, printed(run_dir, width=width).splitlines())) <= width


def test_an_empty_folder_is_said_to_be_so(tmp_path: Path) -> None:
    text = printed(tmp_path, width=300)
    assert "Not measured yet" in text
    assert "Missing from the run folder: " in text
    assert f"No report yet in {tmp_path}" in text


def test_a_model_that_hardly_changed_is_no_success(unmoved_run: Path) -> None:
    text = printed(unmoved_run, width=400)
    assert text.startswith("The model has hardly changed\n6 of 6 sampled answers are equal to the letter")
    assert "\nTo change it, set a higher train.lr (this run had 5e-06;" in text
    assert "\x1b[1;33mThe model has hardly changed" in printed(unmoved_run, terminal=True)


def test_answers_that_changed_and_were_not_rated_are_counted(moved_run: Path) -> None:
    text = printed(moved_run, width=400)
    assert "5 of 6 sampled answers changed; nobody was asked whether for the better." in text
    assert "haloes judge RUN" in text


def test_markup_and_escape_sequences_of_the_run_take_no_effect(bare_run: Write) -> None:
    evil = "[bold red]x[/] [link=file:///etc/passwd]y[/link] \x1b]0;owned\x07 \x1b[2J \x9b31m"
    text = printed(
        bare_run(
            samples_jsonl=[
                {
                    "prompt_id": "a",
                    "prompt": evil,
                    "completion": evil,
                    "model": "after",
                    "num_tokens": 1,
                    "finished": True,
                }
            ],
            warnings_json=[{"severity": evil, "message": evil}],
            data_json={"sources": [evil]},
            config_yaml={"model": evil, "loss": evil},
            scores_jsonl=[{"name": "x", "value": 1, "low": 0, "high": 2, "variant": "after", "label": evil}],
        ),
        width=300,
        terminal=True,
    )
    assert "[bold red]x[/]" in text
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text
    assert not set("\x07\x9b") & set(text)


def test_a_long_answer_is_shortened(bare_run: Write) -> None:
    row = {"prompt_id": "a", "prompt": "?", "completion": "word " * 500, "model": "after", "num_tokens": 1}
    text = printed(bare_run(samples_jsonl=[row]))
    assert "…" in text
    assert text.count("word") < 110
    assert "500 words" in text
