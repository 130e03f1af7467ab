"""Rows as a loss needs them: labels from scores, pairs to single answers and back, and which faults stop a run."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError, DataError
from haloes.feedback.score_rules import AboveMean, Threshold
from haloes.records import Feedback, Pair, Refusal
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import (
    NO_PARTNER,
    NOT_USED,
    Rows,
    describe_reading,
    fatal_reasons,
    open_for_doctor,
    open_rows,
    score_rule,
)
from tiny_runs import pairs as paired_rows
from tiny_runs import thumbs, write_rows


def rows_of(path: Path, *, pairs: bool = False, undesirable: bool = True, **settings: Any) -> list[Any]:
    return list(open_rows(str(path), FeedbackSettings(**settings), pairs=pairs, undesirable=undesirable))


def reasons(rows: Iterable[object]) -> list[str]:
    return [row.reason for row in rows if isinstance(row, Refusal)]


def scored(tmp_path: Path, scores: Iterable[float | None]) -> Path:
    rows = [{"prompt": f"p{i}", "completion": "c", "score": score} for i, score in enumerate(scores)]
    return write_rows(tmp_path / "scored.jsonl", rows)


def test_rows_can_be_read_again_and_again(thumbs_file: Path):
    rows = open_rows(str(thumbs_file), FeedbackSettings(), pairs=False)

    assert list(rows) == list(rows)
    assert len(list(rows)) == 32


def test_single_answers_come_as_they_are(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"prompt": "p", "completion": "c", "label": False}])

    assert rows_of(path) == [Feedback(prompt="p", completion="c", label=False)]


def test_pairs_are_taken_apart_where_single_answers_are_needed(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"prompt": "p", "chosen": "good", "rejected": "bad"}])

    assert rows_of(path) == [
        Feedback(prompt="p", completion="good", label=True),
        Feedback(prompt="p", completion="bad", label=False),
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (paired_rows(3), "f.jsonl: 6 rows used; 3 pairs are read as a good and a bad answer each, as the loss"),
        (paired_rows(1), "f.jsonl: 2 rows used; 1 pair is read as a good and a bad answer each"),
        (thumbs(2), None),
    ],
)
def test_it_is_told_that_pairs_become_single_answers(rows: Any, told: str | None, tmp_path: Path):
    path = str(write_rows(tmp_path / "f.jsonl", rows))
    opened = open_rows(path, FeedbackSettings(), pairs=False)
    said = describe_reading(opened, "f.jsonl", num_used=len(list(opened)), refused={})

    assert said is None if told is None else (said or "").startswith(told)
    as_pairs = open_rows(path, FeedbackSettings(), pairs=True)
    assert describe_reading(as_pairs, "f.jsonl", num_used=len(list(as_pairs)), refused={}) is None


def test_single_answers_to_one_prompt_make_pairs_where_pairs_are_needed(thumbs_file: Path):
    made = rows_of(thumbs_file, pairs=True)

    assert len(made) == 16
    assert Pair(prompt="Is 3 it?", chosen="yes yes 3", rejected="no no 3") in made


def test_answers_without_a_partner_are_counted_and_not_lost(tmp_path: Path):
    lonely = [{"prompt": "alone", "completion": "c", "label": True}, {"prompt": "p", "completion": "x", "label": True}]
    both_ways = [{"prompt": "q", "completion": "same", "label": label} for label in (True, False)]
    rows = [{"prompt": "p", "completion": "y", "label": False}, {"prompt": "p", "completion": "z", "label": False}]
    made = rows_of(write_rows(tmp_path / "a.jsonl", [*lonely, *both_ways, *rows]), pairs=True)

    assert [type(row) for row in made] == [Pair, *[Refusal] * 4]
    assert reasons(made) == [NO_PARTNER] * 4


def test_undesirable_answers_are_left_out_and_named_where_a_loss_does_not_use_them(thumbs_file: Path):
    made = rows_of(thumbs_file, undesirable=False)

    assert {row.label for row in made if isinstance(row, Feedback)} == {True}
    assert reasons(made) == [NOT_USED] * 16


def test_one_answer_a_prompt_is_kept_on_demand(thumbs_file: Path):
    kept = rows_of(thumbs_file, one_per_prompt=True)

    assert len({row.prompt for row in kept}) == len(kept) == 16
    assert sum(row.label for row in kept) == 8


def test_one_answer_a_prompt_and_pairs_do_not_go_together(pairs_file: Path):
    with pytest.raises(ConfigError, match=r"feedback\.one_per_prompt"):
        rows_of(pairs_file, pairs=True, one_per_prompt=True)


# --- scores


def test_scores_become_labels_by_the_rule_and_ties_are_left_out(tmp_path: Path):
    path = scored(tmp_path, [5, 3, 1, 4])
    made = rows_of(path, labels_from={"rule": "threshold", "tau": 3.5, "dead_zone": 0.5})

    assert [row.label for row in made if isinstance(row, Feedback)] == [True, False, False, True]
    assert reasons(rows_of(path, labels_from={"rule": "threshold", "tau": 3, "dead_zone": 1})) == ["no verdict"]


@pytest.mark.parametrize("pairs_needed", [False, True])
def test_a_score_without_a_rule_is_refused_with_what_to_set(tmp_path: Path, pairs_needed: bool):
    made = rows_of(scored(tmp_path, [5, 1]), pairs=pairs_needed)

    assert reasons(made) == ["score without label"] * 2
    assert "--set feedback.labels_from='{rule: threshold, tau: 4}', where good begins at 4" in made[0].message


def test_a_row_that_nobody_scored_is_as_unrated_as_one_without_a_label(tmp_path: Path):
    made = rows_of(scored(tmp_path, [5, None, 1]), labels_from={"rule": "mean"})

    assert reasons(made) == ["no label"]


def test_rules_are_found_by_name_with_their_parameters():
    assert score_rule({"rule": "threshold", "tau": 3}) == Threshold(tau=3)
    assert score_rule({"rule": "mean", "per_prompt": True}) == AboveMean(per_prompt=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "feedback.labels_from has no rule, but nothing: write for example"),
        ({"rule:threshold": None, "tau:4": None}, "has no rule, but 'rule:threshold', 'tau:4': write for example"),
        ({"rule": "best"}, "there is no rule 'best'. There are: threshold, mean, median, bernoulli"),
        ({"rule": "threshold"}, "threshold cannot take {}"),
        ({"rule": "mean", "tau": 3}, "mean cannot take {'tau': 3}"),
        ({"rule": "threshold", "tau": "high"}, "threshold cannot take"),
        ({"rule": "bernoulli", "location": 3, "scale": 0}, "scale must be positive"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        score_rule(settings)

    assert message in str(caught.value)


# --- the doctor's view, and which faults stop a run


def test_the_doctor_sees_pairs_and_scores_as_they_are(tmp_path: Path, pairs_file: Path):
    assert all(isinstance(row, Pair) for row in open_for_doctor(FeedbackSettings(source=str(pairs_file))))
    path = str(scored(tmp_path, [5, 1]))
    assert [row.label for row in open_for_doctor(FeedbackSettings(source=path))] == [None, None]
    settings = FeedbackSettings(source=path, labels_from={"rule": "mean"})
    assert [row.label for row in open_for_doctor(settings)] == [True, False]


@pytest.mark.parametrize(
    ("refused", "num_read", "stops"),
    [
        ({}, 0, set()),
        ({"no label": 1000, "no verdict": 9, NO_PARTNER: 3, NOT_USED: 5}, 1, set()),
        ({"label": 1}, 10_000, {"label"}),
        ({"label": 0}, 1, set()),
        ({"empty completion": 3, "no completion": 2}, 100, set()),
        ({"empty completion": 4, "no completion": 2}, 100, {"empty completion", "no completion"}),
        ({"empty prompt": 1}, 19, {"empty prompt"}),
        ({"broken JSON": 1, "empty completion": 1}, 100, {"broken JSON"}),
    ],
)
def test_a_run_stops_at_broken_rows_and_at_many_empty_ones_but_not_at_unrated_ones(
    refused: dict[str, int], num_read: int, stops: set[str]
):
    assert fatal_reasons(refused, num_read) == stops


@pytest.mark.parametrize("pairs", [False, True])
def test_the_rows_of_a_file_are_counted_whatever_a_loss_makes_of_them(pairs: bool, thumbs_file: Path):
    rows = open_rows(str(thumbs_file), FeedbackSettings(), pairs=pairs)

    assert len(list(rows)) == (16 if pairs else 32)
    assert rows.num_read == 32


def test_a_file_that_is_missing_is_known_at_once(tmp_path: Path):
    with pytest.raises(DataError, match="there is no such file"):
        rows_of(tmp_path / "nope.jsonl")


def test_conversions_are_carried_out_row_by_row():
    pulled = []

    class Source:
        def __iter__(self) -> Iterator[Feedback]:
            for i in range(3):
                pulled.append(i)
                yield Feedback(prompt=str(i), completion="c", label=True)

    next(iter(Rows(Source(), lambda rows: (row for row in rows))))

    assert pulled == [0]


def test_ties_are_left_out_and_stop_nothing(tmp_path: Path):
    rows = [{"prompt": "p", "a": "x", "b": "y", "preference": verdict} for verdict in ("A", "tie", "B", "both_bad")]
    path = write_rows(tmp_path / "ab.jsonl", rows)

    assert reasons(rows_of(path, pairs=True)) == ["tie", "tie"]
    assert fatal_reasons({"tie": 2, "no label": 1}, 5) == set()
    assert fatal_reasons({"preference": 1}, 3) == {"preference"}


def test_a_scale_of_preferences_is_a_setting(tmp_path: Path):
    path = write_rows(tmp_path / "ab.jsonl", [{"prompt": "p", "a": "x", "b": "y", "preference": 4}])

    for scale, chosen in (({"a": 1, "b": 5}, "y"), ({"a": 5, "b": 1}, "x")):
        [made] = rows_of(path, pairs=True, preference_scale=scale)
        assert (made.chosen, made.margin) == (chosen, 1.0)


def overlapping(tmp_path: Path) -> Path:
    people = {"ann": 0, "ben": 0, "cem": 0, "yes": 1}
    rows = [
        {
            "prompt": f"p{n}",
            "completion": "c",
            "label": True if always else (n + place * (n % 7 == 0)) % 2 == 0,
            "user": name,
        }
        for n in range(60)
        for place, (name, always) in enumerate(people.items())
    ]
    return write_rows(tmp_path / "overlap.jsonl", [*rows, {"prompt": "q", "completion": "c", "label": True}])


def test_rows_weigh_by_their_raters_only_where_that_is_asked_for(tmp_path: Path):
    path = overlapping(tmp_path)
    plain = rows_of(path)
    weighed = rows_of(path, rater_weights="em")

    assert {row.weight for row in plain} == {1.0}
    assert sum(row.weight for row in weighed) == pytest.approx(len(weighed))
    weights = {row.user: row.weight for row in weighed}
    assert weights["yes"] < 0.3
    assert min(weights["ann"], weights["ben"]) > 1
    assert weights[None] == 1
    assert list(open_rows(str(path), FeedbackSettings(), pairs=False).rater_weights) == []


def test_raters_without_enough_votes_in_common_cannot_weigh(thumbs_file: Path):
    with pytest.raises(DataError, match="rater_weights=em has too little to go by: several people voted on 0 answers"):
        rows_of(thumbs_file, rater_weights="em")
