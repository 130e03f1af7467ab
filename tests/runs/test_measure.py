"""What a run did to its model: the rater's verdicts, and the AUC of the implied reward."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from haloes.errors import ConfigError, DataError
from haloes.evaluation.compare_runs import compare_runs
from haloes.records import Completion
from haloes.results import AnswerRating, Score
from haloes.results_json import read_held_out
from haloes.run_files import ENCODED, METRICS
from haloes.runs.align import align
from haloes.runs.measure import (
    answer_scores,
    auc_before,
    auc_score,
    load_rater,
    rate,
    validation_numbers,
    validation_scores,
)
from haloes.stats.auc import auc
from haloes.store import read_json
from haloes.tokens.store import TokenStore
from haloes.training.metrics_log import read_metrics
from haloes.training.validation import Validation
from tiny_runs import config, pairs, rows_of, thumbs, warnings_of, write_rows


def rating(prompt_id: str, model: str, *, liked: bool, reason: str = "") -> AnswerRating:
    return AnswerRating(prompt_id=prompt_id, model=model, liked=liked, reason=reason)


def answers(model: str = "after", *texts: str) -> list[Completion]:
    return [
        Completion(prompt_id=f"p{i}", prompt=f"Q{i}", completion=text, model=model, num_tokens=3, finished=True)
        for i, text in enumerate(texts)
    ]


def validation(*, reference: bool = True, labels: tuple[bool, ...] = (True, False) * 6) -> Validation:
    rng = np.random.default_rng(0)
    num = len(labels)
    label = np.array(labels)
    return Validation(
        loss=0.5,
        sequences=np.arange(num),
        log_ratio=rng.normal(size=num) + label if reference else None,
        logp=rng.normal(size=num) - 30 + 4 * label,
        mismatched=None,
        desirable=label,
        group=np.arange(num) // 2,
        tokens=rng.integers(1, 9, num).astype(np.int32),
        weight=np.ones(num),
    )


# --- raters


def test_a_rater_is_found_in_a_file_and_in_a_package(tmp_path: Path):
    (tmp_path / "my rater.py").write_text(
        "def brief(prompt, completion, finished):\n    return len(completion) < 5, ''\n"
    )

    assert load_rater(f"{tmp_path / 'my rater.py'}:brief")("p", "four", True) == (True, "")
    assert load_rater("haloes.recipes.demo.rule:rate") is sys.modules["haloes.recipes.demo.rule"].rate


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "samples.rater: nothing cannot be loaded (ValueError: Empty module name); give package.module:"),
        ("no_such_package.x:f", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("json:nope", "AttributeError: module 'json' has no attribute 'nope'"),
        ("json:__name__", "samples.rater: json:__name__ is not a function"),
        ("nope.py:f", "there is no file nope.py"),
        ("FOLDER/broken.py:f", "SyntaxError"),
    ],
)
def test_a_rater_that_cannot_be_loaded_is_refused_with_the_cause(name: str, message: str, tmp_path: Path):
    (tmp_path / "broken.py").write_text("def f(:\n")

    with pytest.raises(ConfigError) as caught:
        load_rater(name.replace("FOLDER", str(tmp_path)))

    assert message in str(caught.value)


def test_verdicts_are_kept_with_their_reasons():
    found = rate(lambda prompt, text, finished: (len(text) > 2, f"{prompt} {finished}"), answers("before", "no", "yes"))

    assert found == [
        rating("p0", "before", liked=False, reason="Q0 True"),
        rating("p1", "before", liked=True, reason="Q1 True"),
    ]


@pytest.mark.parametrize(
    ("rater", "cause"),
    [
        (lambda prompt, text, finished: True, "TypeError: cannot unpack non-iterable bool object"),
        (lambda prompt: (True, ""), "TypeError"),
        (lambda prompt, text, finished: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_rater_that_fails_is_named_with_the_prompt(rater: object, cause: str):
    with pytest.raises(ConfigError, match=r"samples\.rater: it failed on the answer to prompt p0") as caught:
        rate(rater, answers("before", "x"))  # type: ignore[arg-type]

    assert cause in str(caught.value)


# --- the AUC


def test_the_auc_is_that_of_the_implied_reward():
    held_out = validation()
    assert held_out.log_ratio is not None
    good, bad = held_out.log_ratio[held_out.desirable], held_out.log_ratio[~held_out.desirable]
    found = auc_score(held_out)

    assert found is not None
    assert found.value == pytest.approx(mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))
    assert found.low <= found.value <= found.high
    assert (found.num_rows, found.num_clusters, found.label) == (12, 6, "AUC of the implied reward")


def test_the_interval_of_the_auc_is_that_of_the_file_of_held_out_rows():
    held_out = validation()
    assert held_out.log_ratio is not None
    # The steps of a validation have the rows in an order of their own, and the file has them by number.
    order = np.array([7, 2, 10, 0, 5, 11, 3, 8, 1, 9, 4, 6])
    mixed = replace(
        held_out,
        sequences=held_out.sequences[order],
        log_ratio=held_out.log_ratio[order],
        desirable=held_out.desirable[order],
        group=held_out.group[order],
    )

    assert auc_score(mixed) == auc_score(held_out)


def test_runs_are_compared_with_the_intervals_of_their_own_reports(model: Path, tmp_path: Path):
    # Labels that no model learns in a step: an AUC between the ends has an interval that depends on the draws.
    rows = [{**row, "label": i % 3 == 0} for i, row in enumerate(thumbs(24))]
    source = write_rows(tmp_path / "f.jsonl", rows)
    cfg = config(model, source, feedback={"validation_share": 0.5}, samples={"prompts": 0})
    runs = [align(cfg, tmp_path / name) for name in ("one", "two")]

    found = compare_runs([run.run_dir for run in runs]).aucs[0]
    mine = next(score for score in runs[0].scores if (score.name, score.variant) == ("auc", "after"))
    assert found is not None
    assert 0.1 < mine.value < 0.9
    assert (found.value, found.low, found.high) == (mine.value, mine.low, mine.high)


def test_the_best_step_can_be_chosen_by_the_auc_at_equal_length(model: Path, tmp_path: Path):
    rows = [{**row, "completion": "abcd"[i % 4] * 8, "label": i % 3 == 0} for i, row in enumerate(thumbs(24))]
    source = write_rows(tmp_path / "f.jsonl", rows)
    training = {"keep_best": "auc_length_controlled", "validate_every": 1}
    cfg = config(model, source, train=training, feedback={"validation_share": 0.5}, samples={"prompts": 0})
    run = align(cfg, tmp_path / "run")

    logged = [line for line in read_metrics(run.run_dir / METRICS) if line["split"] == "validation"]
    values = [line["auc_length_controlled"] for line in logged]
    best = values.index(max(values)) + 1
    assert best == len(values) or f"after step {best} of {len(values)}" in warnings_of(run.run_dir)


def test_what_chose_the_best_step_is_not_what_is_reported(model: Path, tmp_path: Path):
    source = write_rows(tmp_path / "f.jsonl", thumbs(24))
    cfg = config(model, source, train={"keep_best": "loss", "validate_every": 1}, feedback={"validation_share": 0.5})
    run = align(cfg, tmp_path / "run")
    whole = align(config(model, source, feedback={"validation_share": 0.5}), tmp_path / "whole")

    reported, held_out = ({row.group for row in read_held_out(at.run_dir)} for at in (run, whole))
    facts = read_json(run.run_dir / "data.json")
    assert (facts["validation"]["prompts"], facts["selection"]["prompts"]) == (6, 6)
    assert len(reported) == 6
    assert len(held_out) == 12
    # The rows that are reported are held out without a choice too: the runs can be compared on them.
    assert reported < held_out
    chose = TokenStore(run.run_dir / ENCODED / "selection")
    assert not reported & {f"{group & 0xFFFF_FFFF_FFFF_FFFF:016x}" for group in chose.group.tolist()}


def test_before_training_every_reward_is_zero_and_the_auc_one_half():
    before, after, *beside = validation_scores(validation())

    assert {score.name for score in beside} >= {"auc_length_controlled", "auc_per_token", "auc_length"}
    assert all((score.value, score.low, score.high) == (0.5, 0.5, 0.5) for score in beside if score.variant == "before")
    assert [score.variant for score in beside if score.name == "auc_length"] == ["after"]
    assert (before.value, before.low, before.high, before.variant) == (0.5, 0.5, 0.5, "before")
    assert before == auc_before(after)
    assert (before.num_rows, before.num_clusters) == (after.num_rows, after.num_clusters)


def test_one_label_has_no_auc():
    held_out = validation(labels=(True,) * 6)

    assert auc_score(held_out) is None
    assert validation_scores(held_out) == []
    assert validation_numbers(held_out) == {}


def test_the_metrics_get_the_auc_with_its_interval():
    found = validation_numbers(validation())

    names = {"auc", "auc_length_controlled"}
    assert set(found) == names | {f"{name}/{end}" for name in names for end in ("low", "high")}
    assert all(found[f"{name}/low"] <= found[name] <= found[f"{name}/high"] for name in names)


# --- answers


def test_the_share_that_the_rater_likes_is_given_before_and_after():
    before, after = answers("before", *["x"] * 8), answers("after", *["y y"] * 8)
    ratings = [rating(c.prompt_id, c.model, liked=c.model == "after" or c.prompt_id == "p0") for c in (*before, *after)]
    found = {(s.name, s.variant): s.value for s in answer_scores(before, after, ratings)}

    assert (found["liked", "before"], found["liked", "after"]) == (1 / 8, 1)
    assert found["liked", "difference"] == pytest.approx(7 / 8)
    assert (found["words", "before"], found["words", "after"]) == (1, 2)


def test_without_a_rater_nothing_is_liked_or_not():
    found = answer_scores(answers("before", "x", "y"), answers("after", "x", "y"), [])

    assert "liked" not in {score.name for score in found}


def test_scores_are_records():
    assert all(isinstance(score, Score) for score in validation_scores(validation()))


# --- held-out rows


def test_a_run_leaves_its_held_out_rows_with_their_rewards(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file, train={"epochs": 3}), tmp_path / "run")
    rows = read_held_out(run.run_dir)
    given = thumbs()

    assert len(rows) == 8
    assert len({row.group for row in rows}) == 4
    assert len({row.answer for row in rows}) == 8
    for row in rows:
        path, _, line = row.where.rpartition(":")
        assert path == str(thumbs_file)
        assert given[int(line) - 1]["label"] == row.label
        # The byte tokenizer: a token a byte, and the end of the turn.
        assert row.tokens == len(given[int(line) - 1]["completion"]) + 1
        assert row.logp < 0
    found = next(score.value for score in run.scores if score.name == "auc" and score.variant == "after")
    assert auc([row.reward for row in rows], [row.label for row in rows]) == found


def test_the_same_answer_has_the_same_name_in_runs_of_pairs_and_of_thumbs(model: Path, tmp_path: Path):
    one = align(config(model, write_rows(tmp_path / "a.jsonl", thumbs())), tmp_path / "kto")
    source = write_rows(tmp_path / "b.jsonl", pairs())
    other = align(config(model, source, loss={"name": "dpo"}), tmp_path / "dpo")
    names = [{(row.group, row.answer, row.label) for row in read_held_out(run.run_dir)} for run in (one, other)]

    assert names[0] == names[1]


def test_a_run_that_held_nothing_out_leaves_none(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file, feedback={"validation_share": 0}), tmp_path / "run")

    assert read_held_out(run.run_dir) == []


@pytest.mark.parametrize(("change", "fault"), [("logp", "has no 'logp'"), ("label", "label must be")])
def test_a_damaged_row_is_named(change: str, fault: str, model: Path, thumbs_file: Path, tmp_path: Path):
    path = align(config(model, thumbs_file), tmp_path / "run").run_dir / "held_out.jsonl"
    rows = rows_of(path)
    rows[1] = {key: value for key, value in rows[1].items() if key != "logp"} if change == "logp" else {**rows[1]}
    rows[1]["label"] = "yes" if change == "label" else True
    write_rows(path, rows)

    with pytest.raises(DataError, match=rf"held_out\.jsonl:2: .*{fault}"):
        read_held_out(path.parent)
