"""What tools write where a turn's words stand, as messages; each expectation is written by hand."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.feedback.importers.content import read_messages
from haloes.feedback.refusals import RefusalError
from haloes.records import Message


def said(content: str, role: str = "assistant", *, thought: str | None = None, calls: Any = ()) -> Message:
    return Message(role, content, calls, () if thought is None else (("reasoning_content", thought),))


def call(arguments: str = "{}", identity: str = "c1") -> tuple[dict[str, Any], ...]:
    return ({"id": identity, "type": "function", "function": {"name": "clock", "arguments": arguments}},)


def result(content: str) -> Message:
    return Message("tool", content, (), (("tool_call_id", "c1"),))


ASKED, NOON = said("Time?", "user"), said("Noon.")

SHAPES: dict[str, tuple[Any, tuple[Message, ...]]] = {
    "text": ("Noon.", (NOON,)),
    "an answer that is JSON": ('{"content": 1, "a": [2]}', (said('{"content": 1, "a": [2]}'),)),
    "a list that is JSON": ("[1, 2]", (said("[1, 2]"),)),
    "turns": ([{"role": "human", "content": "Time?"}, {"from": "gpt", "value": "Noon."}], (ASKED, NOON)),
    "turns as text": (json.dumps([{"role": "user", "content": "Time?"}]), (ASKED,)),
    "wrapped turns": ({"messages": [{"role": "user", "content": "Time?"}]}, (ASKED,)),
    "a server's reply": ({"choices": [{"message": {"role": "assistant", "content": "Noon."}}]}, (NOON,)),
    "LangChain": ([{"type": "human", "content": "Time?"}, {"type": "ai", "content": "Noon."}], (ASKED, NOON)),
    "LangChain, serialised": (
        [{"id": ["langchain", "schema", "messages", "HumanMessage"], "kwargs": {"content": "Time?"}}],
        (ASKED,),
    ),
    "blocks": ([{"role": "assistant", "content": [{"type": "text", "text": "No"}, {"text": "on."}]}], (NOON,)),
    "a field of reasoning": (
        {"role": "assistant", "content": "Noon.", "reasoning": "12"},
        (said("Noon.", thought="12"),),
    ),
    "a block of reasoning": (
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "12"}, {"type": "text", "text": "Noon."}]}],
        (said("Noon.", thought="12"),),
    ),
    "marks of reasoning": ("<think>\n12\n</think>\n\nNoon.", (said("Noon.", thought="12"),)),
    "reasoning without an end": ("<think>12", (said("", thought="12"),)),
    "details of reasoning": (
        '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> 1\n> 2\n</details>\nNoon.',
        (said("Noon.", thought="1\n2"),),
    ),
    "details that were escaped, with the marks of the lines": (
        '<details type="reasoning" done="true">\n<summary>Thought</summary>\n&gt; 1 &lt; 2\n&gt; 2\n</details>\nNoon.',
        (said("Noon.", thought="1 < 2\n2"),),
    ),
    "a thought that the prompt began": ("12\n</think>\n\nNoon.", (said("Noon.", thought="12"),)),
    "a thought in other marks": ("[THINK]12[/THINK]Noon.", (said("Noon.", thought="12"),)),
    "a block whose type is a list": ('[{"type": ["text"], "text": "x"}]', (said('[{"type": ["text"], "text": "x"}]'),)),
    "the model's own details": ("<details>b</details>", (said("<details>b</details>"),)),
    "details that do not end": ('<details type="reasoning">Noon.', (said('<details type="reasoning">Noon.'),)),
    "items of the Responses API": (
        [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A clock."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "12:00"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Noon."}]},
        ],
        (said("I look.", thought="A clock.", calls=call()), result("12:00"), NOON),
    ),
    "Anthropic's tools": (
        [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "clock", "input": {"z": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"text": "12"}]}]},
        ],
        (said("", calls=call('{"z": 1}')), result("12")),
    ),
    "OpenTelemetry's parts": (
        [
            {"role": "user", "parts": [{"type": "text", "content": "Time?"}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "clock", "arguments": {}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "12"}]},
        ],
        (ASKED, said("", calls=call()), result("12")),
    ),
    "parts of the AI SDK": (
        [
            {
                "role": "assistant",
                "parts": [
                    {"type": "step-start"},
                    {"type": "reasoning", "text": "A clock."},
                    {"type": "tool-clock", "toolCallId": "c1", "state": "done", "input": {}, "output": "12"},
                    {"type": "text", "text": "Noon."},
                ],
            }
        ],
        (said("", thought="A clock.", calls=call()), result("12"), NOON),
    ),
    "nothing": (None, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_read(name: str):
    value, expected = SHAPES[name]
    assert read_messages(value, role="assistant") == expected


def test_words_of_a_user_are_left_as_they_are():
    [turn] = read_messages("<think>hm</think> What does this mean?")
    assert turn == said("<think>hm</think> What does this mean?", "user")


@pytest.mark.parametrize("kind", ["image_url", "input_image", "image", "input_audio", "video", "file", "document"])
def test_media_are_refused_under_one_name(kind: str):
    with pytest.raises(RefusalError) as refused:
        read_messages([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": kind}]}])
    assert refused.value.reason == "images"


@pytest.mark.parametrize(
    "value",
    [
        3,
        [[3]],
        [{"type": "riddle"}],
        [{"role": "user", "content": 3}],
        "\ud800",
        [{"role": "user", "content": "\ud800"}],
    ],
    ids=ascii,
)
def test_what_is_no_text_is_refused(value: object):
    with pytest.raises(RefusalError):
        read_messages(value)


keys = st.sampled_from(
    [
        "role",
        "type",
        "content",
        "parts",
        "text",
        "messages",
        "output",
        "choices",
        "message",
        "kwargs",
        "id",
        "tool_calls",
        "name",
    ]
)
words = st.sampled_from(
    [
        "user",
        "ai",
        "message",
        "text",
        "reasoning",
        "tool_use",
        "tool_result",
        "tool-x",
        "function_call",
        "<think>",
        "{",
        "[{}]",
        '{"role": "user", "content": []}',
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_whatever_it_is_it_is_messages_or_refused(value: object):
    try:
        turns = read_messages(value)
    except RefusalError:
        return
    assert all(isinstance(turn, Message) and isinstance(turn.content, str) for turn in turns)
    assert all(turn.role in {"system", "user", "assistant", "tool"} for turn in turns)
