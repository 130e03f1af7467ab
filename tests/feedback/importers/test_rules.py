"""The rules that are the same for every export."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from haloes.feedback.importers.contract import Compared, Imported, LeftOut, Options, Rated
from haloes.feedback.importers.rules import as_records, look_first
from haloes.records import Feedback, Message, Pair, Record, Refusal, Where

ASKED = (Message("user", "Say yes."),)
SAID = (Message("assistant", "No."),)
BETTER = (Message("assistant", "Yes."),)
VOTE = Rated(where=Where("f", 1), messages=ASKED, completion=SAID, label=False, answer="a1", user="ann", id="v1")
COMPARED = Compared(where=Where("f", 1), messages=ASKED, chosen=BETTER, rejected=SAID)


def records(*items: Imported, **said: Any) -> list[Record]:
    options = Options(**said)
    return list(as_records(items, options, earlier=look_first(items, options).earlier, source="tool"))


def reasons(*items: Imported, **said: Any) -> list[str | None]:
    """The reason why each item is left out; None for one that is used."""
    return [each.reason if isinstance(each, Refusal) else None for each in records(*items, **said)]


def test_a_vote_is_a_row_with_everything_that_is_known_of_it():
    vote = replace(
        VOTE, conversation="c", model="m", time=1764400200000, comment="bad", hindsight="No?", finished=False
    )
    assert records(vote) == [
        Feedback(
            prompt=ASKED, completion=SAID, label=False, finished=False, id="v1", conversation="c", user="ann",
            source="tool", model="m", rated_at="2025-11-29T07:10:00Z", comment="bad", hindsight="No?",
        )
    ]  # fmt: skip


def test_the_name_of_the_score_is_part_of_the_source():
    [row] = records(replace(VOTE, metric="helpful", label=None, score=4.0))
    assert isinstance(row, Feedback)
    assert (row.source, row.label, row.score) == ("tool: helpful", None, 4.0)


def test_the_last_vote_of_a_person_on_an_answer_counts_by_time_and_else_by_order():
    up = replace(VOTE, label=True, id="v2")
    assert reasons(VOTE, up) == ["earlier vote", None]
    assert reasons(replace(VOTE, time=20), replace(up, time="1970-01-01T00:00:10Z")) == [None, "earlier vote"]
    assert reasons(replace(VOTE, time=20), up) == [None, "earlier vote"], "a vote without a time is not the later one"
    assert reasons(VOTE, up, VOTE) == ["earlier vote", "earlier vote", None]


def test_a_vote_that_was_taken_back_replaces_the_one_before():
    assert reasons(VOTE, replace(VOTE, label=None, id="v2")) == ["earlier vote", "no verdict"]


@pytest.mark.parametrize("other", [{"user": "bob"}, {"answer": "a2"}, {"metric": "tone"}, {"conversation": "c2"}])
def test_votes_of_others_on_other_things_stand_beside_each_other(other: dict[str, str]):
    assert reasons(VOTE, replace(VOTE, label=True, **other)) == [None, None]


def test_votes_on_answers_without_an_id_all_stand():
    vote = replace(VOTE, answer=None)
    assert reasons(vote, vote) == [None, None]


def test_nobody_named_is_one_person():
    vote = replace(VOTE, user=None)
    assert reasons(vote, replace(vote, label=True)) == ["earlier vote", None]


def test_only_people_are_heard_unless_the_user_says_otherwise():
    judge, code = replace(VOTE, voter="model", label=True), replace(VOTE, voter="code", answer="a2")
    assert reasons(VOTE, judge, code) == [None, "not a person's", "not a person's"]
    assert reasons(VOTE, judge, code, voters=frozenset({"human", "code"})) == [None, "not a person's", None]
    assert reasons(judge, VOTE) == ["not a person's", None], "a judge's vote replaces nobody's"


def test_one_metric_can_be_chosen():
    assert reasons(replace(VOTE, metric="tone"), VOTE, metric="tone") == [None, "other metric"]


def test_a_correction_makes_a_pair_in_place_of_the_row():
    vote = replace(VOTE, correction=BETTER, model="m", finished=False)
    assert records(vote) == [
        Pair(
            prompt=ASKED, chosen=BETTER, rejected=SAID, rejected_finished=False, id="v1", user="ann", source="tool",
            rejected_model="m",
        )
    ]  # fmt: skip
    [without_vote] = records(replace(vote, label=None))
    assert isinstance(without_vote, Pair)


def test_a_correction_that_changes_nothing_is_none():
    [row] = records(replace(VOTE, correction=SAID))
    assert isinstance(row, Feedback)


def test_a_thumb_down_and_a_correction_under_another_name_are_two_rows():
    correction = replace(VOTE, label=None, correction=BETTER, metric=None)
    down, pair = records(replace(VOTE, metric="thumb"), correction)

    assert isinstance(down, Feedback)
    assert isinstance(pair, Pair)
    assert (down.label, down.completion) == (False, pair.rejected)


def test_a_correction_of_an_answer_that_is_liked_is_left_out():
    assert reasons(replace(VOTE, label=True, correction=BETTER)) == ["corrected and liked"]


def test_a_comparison_is_a_pair():
    compared = replace(COMPARED, chosen_model="m1", rejected_model="m2", margin=2.0, time="2025-11-29")
    assert records(compared) == [
        Pair(
            prompt=ASKED, chosen=BETTER, rejected=SAID, margin=2.0, source="tool", chosen_model="m1",
            rejected_model="m2", rated_at="2025-11-29T00:00:00Z",
        )
    ]  # fmt: skip
    assert reasons(replace(COMPARED, chosen=SAID)) == ["chosen equals rejected"]


def test_what_cannot_be_trained_on_is_counted_with_its_place():
    items = [
        LeftOut("images", Where("f", 3), "a picture"),
        replace(VOTE, completion=(Message("assistant", " "),)),
        replace(VOTE, messages=(), answer="a2"),
        replace(VOTE, messages=(*ASKED, *SAID), answer="a3"),
    ]
    assert Counter(reasons(*items)) == Counter(
        ["images", "empty completion", "empty prompt", "prompt ends with assistant turn"]
    )
    assert str(records(*items)[0]) == "f:3: a picture"


def test_the_first_look_counts_what_is_voted_on():
    votes = [
        replace(VOTE, metric=name, voter=voter) for name, voter in (("tone", "human"), ("tone", "human"), ("x", "code"))
    ]
    assert look_first([*votes, VOTE], Options()).metrics == {"tone": 2}


def test_a_correction_of_no_metric_is_not_of_another():
    correction = replace(VOTE, label=None, correction=BETTER)
    assert reasons(correction, metric="tone") == [None]
    assert reasons(replace(correction, metric="style"), metric="tone") == ["other metric"]


def test_a_word_that_says_nothing_stands_in_no_corrections_way():
    vote = replace(VOTE, label=None, correction=BETTER)
    assert reasons(replace(vote, word="curt")) == [None]
    assert reasons(replace(vote, word="good")) == ["corrected and liked"]


def test_a_later_word_of_unknown_meaning_takes_back_the_vote_before():
    assert reasons(VOTE, replace(VOTE, label=None, word="curt", id="v2")) == ["earlier vote", "not a verdict"]


def test_a_word_means_what_the_user_says_and_else_what_is_known():
    def label(word: str, **words: bool | None) -> object:
        [row] = records(replace(VOTE, label=None, word=word), words=words)
        return row.reason if isinstance(row, Refusal) else isinstance(row, Feedback) and row.label

    assert [label(" Good"), label("dislike"), label("helpful")] == [True, False, "not a verdict"]
    assert [label("Helpful", helpful=True), label("good", good=False), label("unsure", unsure=None)] == [
        True,
        False,
        "no verdict",
    ]
