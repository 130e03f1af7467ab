"""The held-out rows that a run leaves: which answer, which prompt, and what the model makes of it."""

from pathlib import Path

import pytest

from haloes.errors import DataError
from haloes.results import read_held_out
from haloes.runs.align import align
from haloes.stats.auc import auc
from tiny_runs import config, pairs, rows_of, thumbs, write_rows


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
