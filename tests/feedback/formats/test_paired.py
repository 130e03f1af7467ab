"""chosen and rejected, with the prompt given or shared."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.paired import PAIRED
from haloes.records import Message, Pair

USER, GOOD, BAD = (
    {"role": role, "content": words} for role, words in (("user", "q"), ("assistant", "a"), ("assistant", "b"))
)
MORE = {"role": "user", "content": "more"}
SYSTEM = {"role": "system", "content": "s"}


def msgs(*turns: dict[str, str]) -> tuple[Message, ...]:
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)


def test_an_explicit_prompt_and_what_the_row_carries(read_row: Any) -> None:
    row = {
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "weight": 0.5,
        "group": "g",
        "score_chosen": 5,
        "score_rejected": 1,
    }
    assert read_row(PAIRED, row) == [Pair(prompt="q", chosen="a", rejected="b", margin=4.0, weight=0.5, group="g")]


@pytest.mark.parametrize(
    ("fields", "margin"),
    [
        ({"margin": 0.5}, 0.5),
        ({"margin": "2"}, 2.0),
        ({"chosen_score": 4, "rejected_score": 4.5}, -0.5),
        ({"margin": 1, "chosen_score": 9, "rejected_score": 1}, 1.0),
        ({"chosen_score": 4}, None),
        ({"margin": None}, None),
    ],
)
def test_by_how_much_the_chosen_answer_is_better(read_row: Any, fields: dict[str, Any], margin: float | None) -> None:
    [made] = read_row(PAIRED, {"prompt": "q", "chosen": "a", "rejected": "b", **fields})

    assert made.margin == margin


def test_an_answer_that_was_cut_off_is_marked_as_such(read_row: Any) -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "rejected_finished": False}
    assert read_row(PAIRED, row) == [Pair(prompt="q", chosen="a", rejected="b", rejected_finished=False)]

    row = {"chosen": [USER, GOOD], "rejected": [USER, BAD], "chosen_finished": False}
    assert [(made.chosen_finished, made.rejected_finished) for made in read_row(PAIRED, row)] == [(False, None)]


def test_a_chat_prompt_and_text_answers(read_row: Any) -> None:
    row = {"prompt": [USER], "chosen": "a", "rejected": "b", "system": "s"}
    assert read_row(PAIRED, row) == [Pair(prompt=msgs(SYSTEM, USER), chosen="a", rejected="b")]


def test_the_shared_beginning_is_the_prompt(read_row: Any) -> None:
    row = {"chosen": [SYSTEM, USER, GOOD], "rejected": [SYSTEM, USER, BAD]}
    assert read_row(PAIRED, row) == [Pair(prompt=msgs(SYSTEM, USER), chosen=msgs(GOOD), rejected=msgs(BAD))]


@pytest.mark.parametrize(
    ("chosen", "rejected", "length"),
    [
        # They part at the second answer.
        ([USER, GOOD, MORE, GOOD], [USER, GOOD, MORE, BAD], 3),
        # They part at the user's reply: the answer before it is already part of the completion.
        ([USER, GOOD, MORE, GOOD], [USER, GOOD, USER, GOOD], 1),
        # One is the beginning of the other.
        ([USER, GOOD], [USER, GOOD, MORE, BAD], 1),
        # The prompt would end with an assistant turn.
        ([USER, GOOD, GOOD], [USER, GOOD, BAD], 1),
    ],
)
def test_the_prompt_ends_where_both_go_on_with_an_answer(
    read_row: Any, chosen: list[dict[str, str]], rejected: list[dict[str, str]], length: int
) -> None:
    expected = Pair(prompt=msgs(*chosen[:length]), chosen=msgs(*chosen[length:]), rejected=msgs(*rejected[length:]))
    assert read_row(PAIRED, {"chosen": chosen, "rejected": rejected}) == [expected]


def test_a_prompt_that_stands_in_the_conversations_too_is_not_doubled(read_row: Any) -> None:
    expected = [Pair(prompt=msgs(USER), chosen=msgs(GOOD), rejected=msgs(BAD))]
    for prompt in ("q", [USER], "", None):
        assert read_row(PAIRED, {"prompt": prompt, "chosen": [USER, GOOD], "rejected": [USER, BAD]}) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen equals rejected"),
        ({"prompt": "q", "chosen": "a", "rejected": " a\n"}, "chosen equals rejected"),
        ({"prompt": "q", "chosen": "a", "rejected": [GOOD]}, "chosen equals rejected"),
        ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, "chosen equals rejected"),
        ({"chosen": [USER, GOOD], "rejected": [MORE, BAD]}, "no common prompt"),
        ({"chosen": [USER], "rejected": [USER, BAD]}, "no common prompt"),
        ({"prompt": "other", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "prompt mismatch"),
        ({"prompt": [MORE], "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "prompt mismatch"),
        ({"prompt": "q", "chosen": "a", "rejected": None}, "no completion"),
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "empty completion"),
        ({"prompt": "q", "chosen": "a"}, "missing column"),
        ({"chosen": "a", "rejected": "b"}, "missing column"),
        ({"chosen": [SYSTEM, GOOD], "rejected": [SYSTEM, BAD]}, "empty prompt"),
        ({"chosen": [USER, GOOD, MORE], "rejected": [USER, BAD]}, "last turn not assistant"),
    ],
)
def test_broken_rows(reason: Callable[..., str], row: dict[str, Any], expected: str) -> None:
    assert reason(PAIRED, row) == expected


def test_reasoning_in_the_shared_prompt_is_no_concern(read_row: Any) -> None:
    before = GOOD | {"reasoning_content": "hm"}
    row = {"chosen": [USER, before, MORE, GOOD], "rejected": [USER, before, MORE, BAD]}
    [pair] = read_row(PAIRED, row)
    assert (pair.chosen, pair.rejected) == (msgs(GOOD), msgs(BAD))
    # It is shown to the chat template, which knows whether earlier reasoning is in the prompt.
    assert pair.prompt[1].extra == (("reasoning_content", "hm"),)
