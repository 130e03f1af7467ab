"""A conversation with several rated turns."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.rated_turns import RATED_TURNS
from haloes.records import Feedback, Message, Refusal


def user(words: str) -> dict[str, Any]:
    return {"role": "user", "content": words}


def said(words: str, **verdict: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": words, **verdict}


def test_each_rated_turn_is_one_record_with_what_came_before_as_its_prompt(read_row: Any) -> None:
    turns = [user("1"), said("a", label=True), user("2"), said("b", label=None), user("3"), said("c", thumb="down")]
    row = {"messages": turns, "conversation": "c7", "id": "r", "user": "ann"}
    assert RATED_TURNS.matches(row)
    first, second = read_row(RATED_TURNS, row)
    assert first == Feedback(
        prompt=(Message("user", "1"),), completion=(Message("assistant", "a"),), label=True,
        conversation="c7", id="r#1", user="ann",
    )  # fmt: skip
    assert [message.content for message in second.prompt] == ["1", "a", "2", "b", "3"]
    assert (second.completion, second.label, second.id) == ((Message("assistant", "c"),), False, "r#5")


@pytest.mark.parametrize("name", ["label", "rating", "feedback", "thumb"])
def test_the_names_of_a_turns_label(read_row: Any, name: str) -> None:
    (record,) = read_row(RATED_TURNS, {"messages": [user("q"), said("a", **{name: "👍"})]})
    assert record.label is True


def test_a_turn_may_have_a_score(read_row: Any) -> None:
    (record,) = read_row(RATED_TURNS, {"messages": [user("q"), said("a", score=4)]})
    assert (record.label, record.score) == (None, 4.0)


def test_a_conversation_without_a_name_is_named_by_its_turns(read_row: Any) -> None:
    turns = [user("q"), said("a", label=True), user("r"), said("b", label=False)]
    one, two = read_row(RATED_TURNS, {"messages": turns})
    assert one.conversation == two.conversation != ""
    assert one.id == f"{one.conversation}#1"
    assert read_row(RATED_TURNS, {"messages": turns})[0].conversation == one.conversation
    assert read_row(RATED_TURNS, {"messages": [user("p"), *turns[1:]]})[0].conversation != one.conversation
    assert read_row(RATED_TURNS, {"messages": turns, "id": "x"})[0].conversation == "x"


def test_a_broken_turn_does_not_take_the_others_with_it(read_row: Any) -> None:
    turns = [user("q"), said("a", label=-1), user("r"), said("b", label=True), said("c", label=True)]
    wrong, fine, doubled = read_row(RATED_TURNS, {"messages": turns})
    assert isinstance(wrong, Refusal)
    assert wrong.reason == "label"
    assert fine.label is True
    assert isinstance(doubled, Refusal)
    assert doubled.reason == "prompt ends with assistant turn"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [user("q"), said("a")]}, "no label"),
        ({"messages": [user("q"), said("a", label=True)], "label": True}, "label"),
        ({"messages": [user("q") | {"label": True}, said("a")]}, "last turn not assistant"),
        ({"messages": [said("a", label=True)]}, "empty prompt"),
        ({"messages": [user("q"), said("", label=True)]}, "empty completion"),
        ({"messages": "q"}, "wrong type"),
        ({"other": 1}, "missing column"),
    ],
)
def test_broken_rows(reason: Callable[..., str], row: dict[str, Any], expected: str) -> None:
    assert reason(RATED_TURNS, row) == expected


def test_labels_of_all_turns_are_shown_for_a_look_at_the_column() -> None:
    row = {"messages": [user("q"), said("a", rating=1), user("r"), said("b", rating=-1)]}
    assert RATED_TURNS.labels(row) == [1, -1]
    assert RATED_TURNS.labels({"messages": True}) == []
