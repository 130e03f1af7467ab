"""Run folders that are complete, empty, damaged, or half written: what can be read is, and the rest is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from haloes.errors import RunError
from haloes.records import Message
from haloes.report.load import Warned, load_run
from haloes.results import AnswerRating


def test_a_complete_run_is_read_without_gaps(run_dir: Path) -> None:
    run = load_run(run_dir)
    assert (run.missing, run.gaps) == ((), ())
    assert [row["step"] for row in run.train] == list(range(1, 241))
    assert [row["step"] for row in run.validation] == [0, 40, 80, 120, 160, 200, 240]
    assert run.config["loss"]["beta"] == 0.1
    assert run.ratings["p0", "before"] == AnswerRating(
        prompt_id="p0", model="before", liked=True, reason="short and complete"
    )
    assert run.samples[6].prompt[0] == Message(role="system", content="You are brief.")
    assert [warning.severity for warning in run.warnings] == ["warning", "warning", "note"]


def test_an_empty_folder_names_what_is_missing(tmp_path: Path) -> None:
    run = load_run(tmp_path)
    assert set(run.missing) == {
        "config.yaml", "environment.json", "data.json", "metrics.jsonl", "scores.jsonl", "samples.jsonl"
    }  # fmt: skip
    assert run.gaps == ()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere: no such run folder"):
        load_run(tmp_path / "nowhere")


def test_a_line_that_a_kill_cut_off_is_left_out_and_named(bare_run: Callable[..., Path]) -> None:
    run = load_run(bare_run(metrics_jsonl='{"step": 1, "split": "train", "loss": 0.5}\n{"step": 2, "spl'))
    assert [row["step"] for row in run.train] == [1]
    assert len(run.gaps) == 1
    assert run.gaps[0].startswith("metrics.jsonl:2: left out (")


def test_of_a_step_logged_twice_the_last_counts(bare_run: Callable[..., Path]) -> None:
    rows = [{"step": step, "split": "train", "loss": loss} for step, loss in ((1, 0.5), (2, 0.4), (2, 0.3), (1, 0.6))]
    assert [row["loss"] for row in load_run(bare_run(metrics_jsonl=rows)).train] == [0.6, 0.3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "expected named fields, found list"),
        ('{"split": "train"}', "no field 'step'"),
        ('{"step": 1, "split": "test"}', "split is 'test'"),
        ("[" * 100_000, "maximum recursion depth"),
    ],
)
def test_a_metrics_line_of_another_shape_is_named(bare_run: Callable[..., Path], line: str, reason: str) -> None:
    run = load_run(bare_run(metrics_jsonl=line))
    assert "metrics.jsonl:1" in run.gaps[0]
    assert reason in run.gaps[0]
    assert "metrics.jsonl" in run.missing


def test_a_score_that_is_not_a_number_is_left_out(bare_run: Callable[..., Path]) -> None:
    text = '{"name": "auc", "value": NaN, "low": 0, "high": 1, "variant": "after"}'
    run = load_run(bare_run(scores_jsonl=text))
    assert run.scores == ()
    assert run.gaps == ("scores.jsonl:1: left out (auc (after) has no finite value and interval)",)


def test_a_score_needs_its_interval(bare_run: Callable[..., Path]) -> None:
    run = load_run(bare_run(scores_jsonl='{"name": "auc", "value": 0.5, "variant": "after"}'))
    assert run.scores == ()
    assert "low" in run.gaps[0]


def test_fields_of_a_later_version_are_ignored(bare_run: Callable[..., Path]) -> None:
    row = {"name": "auc", "value": 0.6, "low": 0.5, "high": 0.7, "variant": "after", "new": 1}
    (score,) = load_run(bare_run(scores_jsonl=[row])).scores
    assert score.value == 0.6


def test_many_damaged_lines_are_counted_and_not_listed(bare_run: Callable[..., Path]) -> None:
    run = load_run(bare_run(samples_jsonl="x\n" * 100))
    assert len(run.gaps) == 6
    assert run.gaps[-1] == "samples.jsonl: 95 more lines left out"


@pytest.mark.parametrize("content", ["{", "[1, 2]", "null", ""])
def test_json_files_of_another_shape_are_named(bare_run: Callable[..., Path], content: str) -> None:
    run = load_run(bare_run(data_json=content, config_yaml=content))
    assert run.data == {}
    assert any(gap.startswith("data.json") for gap in run.gaps) or content == "null"


def test_a_verdict_must_be_true_or_false(bare_run: Callable[..., Path]) -> None:
    run = load_run(bare_run(ratings_jsonl=[{"prompt_id": "a", "model": "after", "liked": "yes"}]))
    assert run.ratings == {}
    assert "liked is 'yes', not true or false" in run.gaps[0]


def test_warnings_come_with_the_gravest_first(bare_run: Callable[..., Path]) -> None:
    found = [{"severity": "note", "message": "c"}, {"severity": "error", "message": "a"}]
    run = load_run(bare_run(warnings_json=found, data_json={"warnings": ["b", {"severity": "error", "message": "d"}]}))
    assert run.warnings == (
        Warned(severity="error", message="a"),
        Warned(severity="error", message="d"),
        Warned(severity="warning", message="b"),
        Warned(severity="note", message="c"),
    )


def test_a_warning_that_two_files_hold_is_shown_once(bare_run: Callable[..., Path]) -> None:
    folder = bare_run(warnings_json=[{"severity": "note", "message": "a"}], data_json={"warnings": ["a", "b"]})
    assert [warning.message for warning in load_run(folder).warnings] == ["b", "a"]


def test_bytes_that_are_not_utf8_do_not_stop_the_report(bare_run: Callable[..., Path]) -> None:
    folder = bare_run()
    (folder / "samples.jsonl").write_bytes(
        b'{"prompt_id": "a", "prompt": "\xff", "completion": "x", "model": "after", "num_tokens": 1}\n'
    )
    assert load_run(folder).samples[0].prompt == "\N{REPLACEMENT CHARACTER}"


def test_a_folder_in_place_of_a_file_is_named(bare_run: Callable[..., Path]) -> None:
    folder = bare_run()
    (folder / "scores.jsonl").mkdir()
    assert "scores.jsonl: cannot be read" in load_run(folder).gaps[0]
