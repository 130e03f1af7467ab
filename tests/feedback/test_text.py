"""What a prompt and a completion must be."""

from typing import Any

import pytest

from haloes.feedback.refusals import Refused
from haloes.feedback.text import parse_completion, parse_prompt, same_answer, split_last_turn
from haloes.records import Message


def turns(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"{role} {number}"} for number, role in enumerate(roles)]


def reason_of(parse: Any, value: object) -> str:
    with pytest.raises(Refused) as refused:
        parse(value)
    return str(refused.value.reason)


def test_texts_are_kept_as_they_are() -> None:
    assert parse_prompt(" How?\n") == " How?\n"
    assert parse_completion(" Yes") == " Yes"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty prompt"),
        (" \n", "empty prompt"),
        (None, "empty prompt"),
        ([], "empty prompt"),
        ([{"role": "user", "content": " "}], "empty prompt"),
        (turns("system"), "empty prompt"),
        (turns("system", "tool"), "no user turn"),
        (turns("user", "assistant"), "prompt ends with assistant turn"),
        (float("nan"), "NaN"),
        (5, "wrong type"),
        (True, "wrong type"),
        (["hello"], "wrong type"),
        ("half \ud83d", "invalid unicode"),
        (turns("user", "narrator"), "unknown role"),
    ],
)
def test_what_is_no_prompt(value: object, reason: str) -> None:
    assert reason_of(parse_prompt, value) == reason


@pytest.mark.parametrize(
    "roles", [["user"], ["system", "user"], ["user", "assistant", "user"], ["user", "assistant", "tool"]]
)
def test_a_chat_that_waits_for_the_assistant_is_a_prompt(roles: list[str]) -> None:
    prompt = parse_prompt(turns(*roles))
    assert [message.role for message in prompt if isinstance(message, Message)] == roles


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty completion"),
        (" \n", "empty completion"),
        ([], "empty completion"),
        ([{"role": "assistant", "content": ""}], "empty completion"),
        ([{"role": "assistant", "content": None}], "empty completion"),
        (None, "no completion"),
        (turns("user", "assistant"), "first turn not assistant"),
        (turns("assistant", "user"), "last turn not assistant"),
        (turns("user"), "last turn not assistant"),
        (float("nan"), "NaN"),
        (0, "wrong type"),
        (b"bytes", "wrong type"),
        ([{"role": "assistant", "content": "4", "reasoning_content": "2+2"}], "reasoning field"),
    ],
)
def test_what_is_no_completion(value: object, reason: str) -> None:
    assert reason_of(parse_completion, value) == reason


def test_a_completion_may_hold_several_turns_between_two_of_the_assistant() -> None:
    completion = parse_completion(turns("assistant", "tool", "user", "assistant"))
    assert len(completion) == 4


def test_a_tool_call_without_words_is_an_answer() -> None:
    call = {"type": "function", "function": {"name": "f"}}
    assert parse_completion([{"role": "assistant", "content": "", "tool_calls": [call]}]) == (
        Message("assistant", "", (call,)),
    )


def test_a_system_column_becomes_the_first_turn() -> None:
    expected = (Message("system", "Be brief."), Message("user", "Hi"))
    assert parse_prompt("Hi", system="Be brief.") == expected
    assert parse_prompt([{"role": "user", "content": "Hi"}], system="Be brief.") == expected
    twice = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert parse_prompt(twice, system="Be brief.") == expected


@pytest.mark.parametrize("system", [None, "", "  "])
def test_a_blank_system_column_changes_nothing(system: object) -> None:
    assert parse_prompt("Hi", system=system) == "Hi"


def test_two_different_system_messages_are_refused() -> None:
    with pytest.raises(Refused, match="different system messages") as refused:
        parse_prompt(turns("system", "user"), system="Be brief.")
    assert refused.value.reason == "two system messages"


def test_a_system_column_that_is_no_text_is_refused() -> None:
    with pytest.raises(Refused, match=r"the system message is \['x'\], not text"):
        parse_prompt("Hi", system=["x"])


def test_the_same_answer_in_other_clothes() -> None:
    assert same_answer(" Yes", "Yes\n")
    assert same_answer("Yes", (Message("assistant", "Yes"),))
    assert not same_answer("Yes", "yes")
    assert not same_answer((Message("assistant", "", ({"name": "f"},)),), (Message("assistant", "", ({"name": "g"},)),))


def test_the_last_turn_is_split_off() -> None:
    assert split_last_turn([1, 2, 3], column="messages") == ([1, 2], [3])
    with pytest.raises(Refused, match="messages has no turn"):
        split_last_turn([], column="messages")
    with pytest.raises(Refused, match="messages is 'x', not the turns of a chat"):
        split_last_turn("x", column="messages")
