"""Runs against each other: on the rows that they share, whatever else they held out."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from haloes.errors import ConfigError
from haloes.evaluation.compare_runs import compare_runs
from haloes.evaluation.evaluate import compute_evaluation
from haloes.progress.contract import NullProgress
from haloes.stats.auc import auc
from tiny_runs import write_rows


def write_run(folder: Path, rewards: Sequence[float], *, first: int = 0, answer: str = "a", source: str = "f") -> Path:
    """A run folder whose row i (from `first` on) is liked where i is even, two rows a prompt."""
    folder.mkdir()
    rows = [
        {
            "where": f"/somewhere/{folder.name}/{source}.jsonl:{i}",
            "label": i % 2 == 0,
            "group": f"g{i // 2}",
            "answer": f"{answer}{i}",
            "reward": reward,
            "logp": -1.0,
            "tokens": 3,
        }
        for i, reward in enumerate(rewards, start=first)
    ]
    write_rows(folder / "held_out.jsonl", rows)
    return folder


def write_judgements(folder: Path, wins: str, length: int) -> None:
    rows = [
        {
            "prompt_id": f"p{i}",
            "candidate": "after",
            "baseline": "before",
            "candidate_first": first,
            "verdict": "first" if (win == "w") == first else "second",
            "judge": "j",
            "fingerprint": f"{folder}{i}{first}",
            "candidate_length": length + i,
            "baseline_length": 9,
        }
        for i, win in enumerate(wins)
        for first in (True, False)
    ]
    write_rows(folder / "judgements.jsonl", rows)


GOOD, BAD = [1.0, 0.0] * 6, [0.0, 1.0, 1.0, 0.0] * 3


class Counted(NullProgress):
    """Keeps what was done and of how much, stage by stage."""

    def __init__(self) -> None:
        self.stages: list[list[float | None]] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append([0, total])

    def advance(self, count: float) -> None:
        self.stages[-1][0] = (self.stages[-1][0] or 0) + count


def test_every_stage_of_comparing_and_evaluating_is_counted_to_its_end(tmp_path: Path):
    runs = [write_run(tmp_path / "good", GOOD), write_run(tmp_path / "bad", BAD)]
    write_judgements(runs[0], "wwl", length=9)
    comparing, evaluating = Counted(), Counted()

    compare_runs(runs, progress=comparing)
    compute_evaluation(runs, progress=evaluating)

    assert comparing.stages == [[2, 2], [4, 4]]
    assert evaluating.stages == [[2, 2], [3, 3]]


def test_runs_over_the_same_rows(tmp_path: Path):
    found = compare_runs([write_run(tmp_path / "good", GOOD), write_run(tmp_path / "bad", BAD)])

    assert (found.names, found.num_shared, found.same_rows) == (("good", "bad"), 12, True)
    assert [score.value for score in found.aucs] == [1.0, 0.5]
    (difference,) = found.auc_differences
    assert (difference.model, difference.other, difference.score.value) == ("good", "bad", 0.5)
    assert difference.score.num_rows == 12


def test_what_the_auc_owes_to_length_stands_beside_it(tmp_path: Path):
    found = compare_runs([write_run(tmp_path / "good", GOOD), write_run(tmp_path / "bad", BAD)])

    beside = {scores[0].name: [score.value for score in scores] for scores in found.beside_auc}
    assert beside["auc_length_controlled"] == [1.0, 0.5], "all answers have three tokens"
    assert beside["auc_length"] == [0.5, 0.5]
    assert beside["auc_within_prompts"] == [1.0, 0.5]
    (difference,) = found.auc_differences_at_equal_length
    assert (difference.model, difference.other, difference.score.value) == ("good", "bad", 0.5)


def test_runs_over_other_rows_are_compared_on_those_they_share(tmp_path: Path):
    one = write_run(tmp_path / "one", GOOD)
    two = write_run(tmp_path / "two", [*BAD, 5.0, 6.0, 7.0, 8.0], first=4)
    found = compare_runs([one, two])

    assert (found.num_held_out, found.num_shared, found.same_rows) == ((12, 16), 8, False)
    (difference,) = found.auc_differences
    labels = [True, False] * 4
    assert difference.score.num_rows == 8
    assert difference.score.value == auc(GOOD[4:], labels) - auc(BAD[:8], labels)
    assert found.aucs[1].num_rows == 16
    assert found.shared_aucs[1].num_rows == 8


def test_other_tokenizers_share_rows_by_file_and_line(tmp_path: Path):
    found = compare_runs([write_run(tmp_path / "a", GOOD), write_run(tmp_path / "b", BAD, answer="other")])

    assert found.num_shared == 12


def test_runs_that_share_nothing_are_not_compared(tmp_path: Path):
    one = write_run(tmp_path / "a", GOOD)
    found = compare_runs([one, write_run(tmp_path / "b", BAD, first=100), write_run(tmp_path / "c", GOOD)])

    assert (found.num_shared, found.shared_aucs) == (0, (None, None, None))
    assert [(d.model, d.other) for d in found.auc_differences] == [("a", "c")]


def test_runs_are_compared_by_their_judges(tmp_path: Path):
    folders = [write_run(tmp_path / name, GOOD) for name in ("kto", "dpo")]
    write_judgements(folders[0], "wwwwwwwl", 10)
    write_judgements(folders[1], "wlwlllll", 20)
    found = compare_runs(folders)

    assert [(w.candidate, w.baseline, w.win_rate.value) for w in found.win_rates] == [
        ("kto", "before", 7 / 8),
        ("dpo", "before", 2 / 8),
    ]
    (difference,) = found.win_rate_differences
    assert (difference.model, difference.other) == ("kto", "dpo")
    assert difference.score.value == pytest.approx(5 / 8)


def test_a_run_without_held_out_rows_is_named(tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("")
    found = compare_runs([write_run(tmp_path / "new", GOOD), tmp_path / "old"])

    assert found.aucs[1] is None
    assert "old has no held_out.jsonl" in found.notes[0]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path):
    (tmp_path / "x").mkdir()
    paths = [write_run(tmp_path / "run", GOOD), write_run(tmp_path / "x" / "run", BAD)]

    assert compare_runs(paths).names == tuple(map(str, paths))


def test_one_run_is_not_enough(tmp_path: Path):
    run = write_run(tmp_path / "run", GOOD)
    for given in ([], [run], [run, run]):
        with pytest.raises(ConfigError, match="two or more different runs"):
            compare_runs(given)
