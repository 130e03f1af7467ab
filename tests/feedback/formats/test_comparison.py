"""Two answers and which is better, and battles as Chatbot Arena publishes them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from haloes.feedback.formats.arena import ARENA
from haloes.feedback.formats.comparison import COMPARISON
from haloes.feedback.preferences import preference_scale
from haloes.records import Message, Pair, Where

ROW = {"prompt": "q", "a": "one", "b": "two"}
USER = {"role": "user", "content": "q"}


def scaled(row: dict[str, Any], **ends: object) -> list[Any]:
    return list(partial(COMPARISON.parse, scale=preference_scale(ends))(row, Where("f", 1)))


def test_the_better_answer_is_the_chosen_one(read_row: Any) -> None:
    assert read_row(COMPARISON, ROW | {"preference": "A"}) == [Pair(prompt="q", chosen="one", rejected="two")]
    assert read_row(COMPARISON, ROW | {"preference": "model_b"}) == [Pair(prompt="q", chosen="two", rejected="one")]


def test_a_scale_gives_the_margin_in_either_direction_unless_the_row_has_one() -> None:
    row = ROW | {"preference": 5}
    assert scaled(row, a=1, b=5) == [Pair(prompt="q", chosen="two", rejected="one", margin=2.0)]
    assert scaled(row, a=5, b=1) == [Pair(prompt="q", chosen="one", rejected="two", margin=2.0)]
    assert scaled(row | {"margin": 0.5}, a=1, b=5) == [Pair(prompt="q", chosen="two", rejected="one", margin=0.5)]


def test_conversations_may_share_their_beginning_and_an_end_may_be_missing(read_row: Any) -> None:
    one, two = ([USER, {"role": "assistant", "content": words}] for words in ("one", "two"))
    assert read_row(COMPARISON, {"a": one, "b": two, "preference": "right", "a_finished": False}) == [
        Pair(
            prompt=(Message("user", "q"),),
            chosen=(Message("assistant", "two"),),
            rejected=(Message("assistant", "one"),),
            rejected_finished=False,
        )
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"preference": "tie"}, "tie"),
        # A tie is one whatever else is wrong, as is a row that nobody compared.
        ({"preference": "both_bad", "a": ""}, "tie"),
        ({"preference": None, "a": ""}, "no label"),
        ({"preference": 4}, "preference"),
        ({"preference": "A", "a": " "}, "empty completion"),
        ({"preference": "A", "b": "one"}, "chosen equals rejected"),
        ({"preference": "A", "prompt": ""}, "empty prompt"),
    ],
)
def test_broken_rows(reason: Callable[..., str], change: dict[str, Any], expected: str) -> None:
    assert reason(COMPARISON, ROW | change) == expected


def test_battles_are_read_by_their_winner(read_row: Any, reason: Callable[..., str]) -> None:
    talks = {
        f"conversation_{side}": [USER, {"role": "assistant", "content": words}]
        for side, words in (("a", "one"), ("b", "two"))
    }
    pair = Pair(
        prompt=(Message("user", "q"),), chosen=(Message("assistant", "two"),), rejected=(Message("assistant", "one"),)
    )
    assert read_row(ARENA, talks | {"winner": "model_b", "model_a": "x", "model_b": "y"}) == [pair]
    assert reason(ARENA, talks | {"winner": "tie (bothbad)"}) == "tie"

    row = {"prompt": "q", "response_a": "one", "response_b": "two", "winner": "model_a"}
    assert read_row(ARENA, row) == [Pair(prompt="q", chosen="one", rejected="two")]
    assert reason(ARENA, {"winner": "model_a"}) == "missing column"


def test_battles_with_a_column_for_each_winner_and_lists_of_turns_are_read(
    read_row: Any, reason: Callable[..., str]
) -> None:
    row = {
        "prompt": '["q"]',
        "response_a": '["one"]',
        "response_b": '["two"]',
        "winner_model_a": 0,
        "winner_model_b": "1",
    }
    asked, one, two = Message("user", "q"), Message("assistant", "one"), Message("assistant", "two")
    assert ARENA.matches(row)
    assert read_row(ARENA, row | {"winner_tie": 0}) == [Pair(prompt=(asked,), chosen=(two,), rejected=(one,))]
    assert reason(ARENA, row | {"winner_model_b": 0, "winner_tie": True}) == "tie"
    assert reason(ARENA, row | {"winner_model_a": 1}) == "no label"

    longer = row | {"prompt": '["q", "r"]', "response_a": '["one", "x"]', "response_b": '["two", "y"]'}
    [pair] = read_row(ARENA, longer)
    assert (pair.prompt, pair.chosen) == ((asked,), (two, Message("user", "r"), Message("assistant", "y")))
    assert reason(ARENA, row | {"response_a": "[null]"}) == "wrong type"
    assert reason(ARENA, longer | {"response_a": '["one"]'}) == "wrong type"
    # A text that only looks like a list stays a text.
    [pair] = read_row(ARENA, row | {"prompt": "[q]", "response_b": "[1]"})
    assert (pair.prompt, pair.chosen) == ("[q]", "[1]")
