"""Prompts, completions and the turns of a chat as other tools write them."""

import json
from datetime import date
from typing import Any

import pytest

from haloes.feedback.keys import prompt_key
from haloes.feedback.messages import (
    is_message,
    is_messages,
    parse_completion,
    parse_messages,
    parse_prompt,
    same_completion,
    same_words,
    split_last_turn,
)
from haloes.feedback.refusals import RefusalError
from haloes.feedback.roles import ROLES
from haloes.records import Feedback, Message
from haloes.records_json import row_to_json, text_from_json, text_to_json

CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def parsed(*turns: Any) -> tuple[Message, ...]:
    return parse_messages(list(turns), column="prompt")


def refusal(*turns: Any) -> tuple[str, str]:
    with pytest.raises(RefusalError) as refused:
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
    with pytest.raises(RefusalError, match="prompt is 'hello', not the turns of a chat"):
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


HELD = (Message("assistant", "4", (), (("reasoning_content", "2 + 2"),)),)
FOLDED = (
    '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n'
    "> 2 + 2\n</details>\n4"
)


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "4", "reasoning_content": "2 + 2"},
        {"content": "4", "reasoning": "2 + 2"},
        {"content": "4", "thinking": "2 + 2", "reasoning_content": None},
        {"content": "4", "reasoning": "2 + 2", "thinking": " "},
        {"content": [{"type": "reasoning", "text": "2 + 2"}, {"type": "text", "text": "4"}]},
        {"content": [{"type": "thinking", "thinking": "2 + 2", "signature": "x"}, {"type": "text", "text": "4"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2 + 2"}]}, "4"]},
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "2 + 2"}]}, "4"]},
        {"content": FOLDED},
        {"content": FOLDED, "reasoning": "2 + 2"},
    ],
)
def test_reasoning_is_kept_beside_the_words_wherever_a_tool_has_it(turn: dict[str, object]) -> None:
    assert parsed({"role": "assistant", **turn}) == HELD
    assert parse_completion([{"role": "assistant", **turn}]) == HELD


def test_reasoning_that_is_folded_in_a_text_is_taken_out_of_it() -> None:
    assert parse_completion(FOLDED) == HELD
    folded = FOLDED.replace("2 + 2", "1 &lt; 2\n> so")
    assert parse_completion(folded) == (Message("assistant", "4", (), (("reasoning_content", "1 < 2\nso"),)),)


@pytest.mark.parametrize(
    "text",
    [
        "<think>\n2 + 2\n</think>\n\n4",
        "4 <details><summary>Why</summary>2 + 2</details>",
        '<details type="reasoning"> has no end',
        '<details type="reasoning"' * 20_000,
    ],
)
def test_marks_that_a_model_writes_itself_stay_in_its_text(text: str) -> None:
    assert parse_completion(text) == text
    assert parse_completion([{"role": "assistant", "content": text}]) == (Message("assistant", text),)


def test_only_the_assistant_reasons() -> None:
    turn = {"role": "user", "content": FOLDED, "thinking": "loud"}
    assert parsed(turn) == (Message("user", FOLDED, (), (("thinking", "loud"),)),)
    assert refusal({"role": "user", "content": [{"type": "reasoning", "text": "hm"}]})[0] == "content part"


@pytest.mark.parametrize(
    "answer",
    [
        "<think>\nhm\n</think>\n\n",
        "<think>\nhm, wait",
        FOLDED.removesuffix("4"),
        [{"role": "assistant", "content": "", "reasoning_content": "hm"}],
        [{"role": "assistant", "content": "<think>hm</think>"}],
    ],
)
def test_reasoning_alone_is_no_answer(answer: object) -> None:
    assert reason_of(parse_completion, answer) == "empty completion"


def test_a_call_after_reasoning_is_an_answer() -> None:
    turn = {"role": "assistant", "content": "<think>\nhm\n</think>\n\n", "tool_calls": [CALL]}
    assert parse_completion([turn])[0].tool_calls == (CALL,)


def test_what_looks_like_turns() -> None:
    assert is_messages([{"from": "human", "value": 3}])
    assert is_message({"role": "nobody"})
    assert not any(map(is_messages, ["text", [], ["text"], None, {"role": "user"}, [{"content": "x"}]]))


# --- prompts and completions


def turns(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"{role} {number}"} for number, role in enumerate(roles)]


def reason_of(parse: Any, value: object) -> str:
    with pytest.raises(RefusalError) as refused:
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
    with pytest.raises(RefusalError, match="different system messages") as refused:
        parse_prompt(turns("system", "user"), system="Be brief.")
    assert refused.value.reason == "two system messages"


def test_a_system_column_that_is_no_text_is_refused() -> None:
    with pytest.raises(RefusalError, match=r"the system message is \['x'\], not text"):
        parse_prompt("Hi", system=["x"])


def test_the_same_answer_in_other_clothes() -> None:
    assert same_completion(" Yes", "Yes\n")
    assert same_completion("Yes", (Message("assistant", "Yes"),))
    assert not same_completion("Yes", "yes")
    assert not same_completion(
        (Message("assistant", "", ({"name": "f"},)),), (Message("assistant", "", ({"name": "g"},)),)
    )


def test_the_last_turn_is_split_off() -> None:
    assert split_last_turn([1, 2, 3], column="messages") == ([1, 2], [3])
    with pytest.raises(RefusalError, match="messages has no turn"):
        split_last_turn([], column="messages")
    with pytest.raises(RefusalError, match="messages is 'x', not the turns of a chat"):
        split_last_turn("x", column="messages")


def test_every_other_key_of_a_turn_is_kept_as_json_has_it() -> None:
    turn = {"role": "tool", "tool_call_id": "abcdef000", "name": "weather", "content": "20 C"}
    seen = {"at": date(2026, 1, 2), "none": None, "nan": float("nan"), "sub": {"n": (1, 2)}}

    assert parsed(turn) == (Message("tool", "20 C", (), (("tool_call_id", "abcdef000"), ("name", "weather"))),)
    assert parsed({"from": "human", "value": "Hi", **seen}) == (
        Message("user", "Hi", (), (("at", "2026-01-02"), ("sub", {"n": [1, 2]}))),
    )
    assert parsed({"role": "function_call", "content": json.dumps({"name": "a"}), "id": "c"})[0].extra == (("id", "c"),)


def test_a_turn_is_the_same_after_it_was_written_and_read() -> None:
    turns = parsed(
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "abcdef000", "name": "weather", "content": "20 C", "more": [1]},
    )

    assert text_from_json(json.loads(json.dumps(text_to_json(turns)))) == turns
    assert parsed(*row_to_json(Feedback(prompt=turns, completion="x"))["prompt"]) == turns
    assert len({turns, turns[:1]}) == 2


def test_keys_that_no_template_reads_do_not_make_two_answers_of_one() -> None:
    one, other = (
        parsed({"role": "assistant", "content": "a", "at": at}, {"role": "user", "content": "b"}) for at in (1, 2)
    )

    assert same_completion(one, other)
    assert same_words(one, other)
    assert prompt_key(one) == prompt_key(other)


@pytest.mark.parametrize("kind", [[], {}, [{"type": "text"}], 3])
def test_a_part_whose_type_is_no_word_is_refused(kind: object):
    with pytest.raises(RefusalError, match="part"):
        parse_prompt([{"role": "user", "content": [{"type": kind, "text": "q"}]}])
