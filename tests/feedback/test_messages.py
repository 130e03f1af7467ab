"""The turns of a chat as other tools write them."""

from typing import Any

import pytest

from haloes.feedback.messages import ROLES, check_no_reasoning, is_message, is_messages, parse_messages
from haloes.feedback.refusals import Refused
from haloes.records import Message

CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def parsed(*turns: Any) -> tuple[Message, ...]:
    return parse_messages(list(turns), column="prompt")


def refusal(*turns: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        parsed(*turns)
    return refused.value.reason, refused.value.message


def test_openai_and_sharegpt_spellings_mean_the_same() -> None:
    openai = parsed({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})
    assert openai == parsed({"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"})
    assert openai == (Message("user", "Hi"), Message("assistant", "Hello"))


@pytest.mark.parametrize(
    ("named", "role"),
    [("human", "user"), ("prompter", "user"), ("User", "user"), ("gpt", "assistant"), ("model", "assistant"),
     ("developer", "system"), ("function", "tool"), ("observation", "tool"), ("tool_response", "tool")],
)  # fmt: skip
def test_other_names_of_the_roles(named: str, role: str) -> None:
    assert parsed({"role": named, "content": "x"}) == (Message(role, "x"),)


def test_only_four_roles_come_out() -> None:
    assert set(ROLES.values()) == {"system", "user", "assistant", "tool"}


@pytest.mark.parametrize("role", ["narrator", "", None, 3])
def test_an_unknown_role_is_refused_with_its_place(role: object) -> None:
    reason, message = refusal({"role": "user", "content": "x"}, {"role": role, "content": "x"})
    assert reason == "unknown role"
    assert "prompt[1]" in message
    assert repr(role) in message


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, "c"]
    assert parsed({"role": "user", "content": parts}) == (Message("user", "abc"),)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "multimodal content"),
        ({"type": "input_audio", "input_audio": {}}, "multimodal content"),
        ({"type": "video", "video": "x.mp4"}, "multimodal content"),
        ({"type": "file", "file": {}}, "multimodal content"),
        ({"type": "tool_use", "name": "add"}, "content part"),
        ({"type": "text", "text": None}, "content part"),
        (7, "content part"),
    ],
)
def test_other_parts_are_refused(part: object, reason: str) -> None:
    assert refusal({"role": "user", "content": [{"type": "text", "text": "a"}, part]})[0] == reason


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ("hello", "wrong type"),
        ({"role": "user"}, "wrong type"),
        ({"role": "user", "content": 5}, "wrong type"),
        ({"role": "user", "content": float("nan")}, "NaN"),
        ({"role": "user", "content": "half \ud83d"}, "invalid unicode"),
        ({"role": "assistant", "content": "", "tool_calls": "add"}, "wrong type"),
        ({"from": "function_call", "value": "add(1)"}, "wrong type"),
        ({"from": "function_call", "value": "[1]"}, "wrong type"),
    ],
)
def test_a_broken_turn_is_refused_with_its_place(turn: object, reason: str) -> None:
    found, message = refusal(turn)
    assert found == reason
    assert "prompt[0]" in message


def test_something_that_is_no_list_of_turns_is_refused() -> None:
    with pytest.raises(Refused, match="prompt is 'hello', not the turns of a chat"):
        parse_messages("hello", column="prompt")


def test_tool_calls_are_kept_and_need_no_words() -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert parsed(turn) == (Message("assistant", "", (CALL,)),)


def test_older_spellings_of_tool_calls_become_the_openai_shape() -> None:
    call = {"name": "add", "arguments": '{"a": 1}'}
    expected = (Message("assistant", "", ({"type": "function", "function": call},)),)
    assert parsed({"role": "assistant", "content": None, "function_call": call}) == expected
    text = '{"name": "add", "arguments": "{\\"a\\": 1}"}'
    assert parsed({"from": "function_call", "value": text}) == expected
    assert parsed({"role": "tool_call", "content": f"[{text}]"}) == expected


def test_one_turn_is_a_chat_of_one() -> None:
    assert parse_messages({"from": "gpt", "value": "x"}, column="chosen") == (Message("assistant", "x"),)


def test_empty_keys_of_a_shared_type_are_as_good_as_absent() -> None:
    turn = {"role": "user", "content": "x", "from": None, "value": None, "tool_calls": None}
    assert parsed(turn) == (Message("user", "x"),)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_beside_a_rated_answer_is_refused(name: str) -> None:
    turns = [{"role": "assistant", "content": "4", name: "2 + 2"}]
    with pytest.raises(Refused, match=f"'{name}', which would be left out of training"):
        check_no_reasoning(turns, column="completion")
    check_no_reasoning([{"role": "assistant", "content": "4", name: None}], column="completion")
    check_no_reasoning("text", column="completion")


def test_what_looks_like_turns() -> None:
    assert is_messages([{"from": "human", "value": 3}])
    assert is_message({"role": "nobody"})
    assert not any(map(is_messages, ["text", [], ["text"], None, {"role": "user"}, [{"content": "x"}]]))
