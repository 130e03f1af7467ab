"""Chat completions in the shapes that servers send them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.remote.chat import ChatReply, read_chat


def read(message: Any, **fields: Any) -> ChatReply:
    usage = {} if "usage" not in fields else {"usage": fields.pop("usage")}
    return read_chat({"choices": [{"message": message, **fields}], **usage})


@pytest.mark.parametrize(
    "content",
    [
        "Yes.",
        ["Yes."],
        {"type": "text", "text": "Yes."},
        [{"type": "text", "text": "Y"}, {"type": "text", "text": "es."}],
        [{"type": "output_text", "text": "Yes.", "annotations": []}],
        [{"type": "text", "text": {"value": "Yes."}}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "No?"}]}, {"type": "text", "text": "Yes."}],
        [{"type": "reasoning", "text": "No?"}, {"text": "Yes."}, None, 5],
    ],
)
def test_the_words_are_found_in_text_and_in_parts(content: Any):
    reply = read({"role": "assistant", "content": content, "reasoning_content": "No?"}, finish_reason="stop")

    assert (reply.text, reply.silence, reply.finished) == ("Yes.", "", True)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({}, "the reply is empty"),
        ({"content": None}, "the reply is empty"),
        ({"content": " \n"}, "the reply is empty"),
        ({"content": []}, "the reply is empty"),
        ({"content": None, "reasoning": "hm"}, "the model only thought (2 characters), and gave no reply"),
        ({"content": "", "reasoning_content": "hm, hm"}, "the model only thought (6 characters), and gave no reply"),
        ({"content": [{"type": "thinking", "thinking": "hm"}]}, "the model only thought (2 characters)"),
        ({"content": None, "refusal": "I will not."}, "the model refuses: I will not."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "the model refuses: No."),
        ({"content": None, "tool_calls": [{"id": "1"}]}, "the model calls a tool"),
        ({"content": 5}, "the reply holds no text: its content is 5"),
        ({"content": True}, "the reply holds no text: its content is True"),
        ({"content": [{"type": "image_url"}]}, "the reply holds no text"),
    ],
)
def test_a_reply_without_words_says_why(message: Any, why: str):
    reply = read(message)

    assert reply.text.strip() == ""
    assert reply.silence.startswith(why)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no choices"),
        ([], "no choices"),
        ({"choices": []}, "no choices"),
        ({"choices": {}}, "no choices"),
        ({"choices": [None]}, "no choices"),
        ({"choices": [{"text": "Yes."}]}, "no choices"),
        ({"choices": [{"message": "Yes."}]}, "no choices"),
        ({"error": {"message": "overloaded", "code": 529}}, "reports an error: overloaded"),
        ({"choices": [{"error": "cut off", "message": {"content": "Ye"}}]}, "reports an error: cut off"),
    ],
)
def test_what_is_no_chat_completion_is_refused(content: Any, why: str):
    with pytest.raises(ValueError, match=why):
        read_chat(content)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7}, 7),
        ({"prompt_tokens": 7.0}, 7),
        ("many", 0),
        ([1], 0),
        (None, 0),
        ({"prompt_tokens": "many"}, 0),
        ({"prompt_tokens": True}, 0),
        ({"prompt_tokens": -1}, 0),
        ({"prompt_tokens": float("inf")}, 0),
        ({"prompt_tokens": float("nan")}, 0),
        ({"prompt_tokens": 10**400}, 0),
        ({"prompt_tokens": 1e300}, 0),
    ],
)
def test_odd_counts_of_tokens_are_left_out(usage: Any, tokens: int):
    reply = read({"content": "Yes."}, usage=usage)

    assert (reply.text, reply.prompt_tokens) == ("Yes.", tokens)


def top(logprob: Any, token: Any = "m") -> Any:
    return {"content": [{"token": "m", "top_logprobs": [{"token": token, "logprob": logprob}]}]}


def test_log_probabilities_of_the_first_token_are_read():
    reply = read({"content": "m"}, logprobs=top(-0.5))

    assert (dict(reply.first_token), reply.logprobs_fault) == ({"m": -0.5}, "")
    assert dict(read({"content": "m"}, logprobs=top(float("-inf"))).first_token) == {"m": float("-inf")}


@pytest.mark.parametrize(
    ("logprobs", "why"),
    [
        (None, "sent no log-probabilities"),
        ({"content": [{"token": "m", "top_logprobs": []}]}, "sent no log-probabilities"),
        *((odd, "cannot be read") for odd in ([1], "x", 5, {"content": [1]}, {"content": "x"}, {"content": None})),
        *((top(value), "cannot be read") for value in (1e5, 10**400, float("nan"), float("inf"), "x", None, True)),
        (top(-0.5, token=5), "cannot be read"),
    ],
)
def test_odd_log_probabilities_are_left_out_with_the_reason(logprobs: Any, why: str):
    reply = read({"content": "m"}, logprobs=logprobs)

    assert (reply.text, dict(reply.first_token)) == ("m", {})
    assert why in reply.logprobs_fault


KEYS = ["choices", "message", "content", "type", "text", "usage", "prompt_tokens", "logprobs", "top_logprobs", "token"]
KEYS += ["logprob", "error", "refusal", "reasoning", "finish_reason", "tool_calls", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["text", "stop", ""]) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, VALUES)
def test_whatever_a_server_sends_is_read_or_refused(message: Any, rest: Any):
    for content in (message, {"choices": [{"message": message, "logprobs": rest}], "usage": rest}):
        try:
            reply = read_chat(content)
        except ValueError:
            continue
        assert bool(reply.text.strip()) != bool(reply.silence)
        assert all(isinstance(value, float) for value in reply.first_token.values())
        json.dumps([reply.prompt_tokens, reply.completion_tokens], allow_nan=False)
