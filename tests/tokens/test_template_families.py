"""What inference sees is what is trained, under small templates of the kinds that published models have."""

from typing import Any

import pytest

from haloes.feedback.messages import parse_completion, parse_prompt
from haloes.records import Message, Prompt, Text
from haloes.records_json import message_to_json
from haloes.tokens.encode import Encoded, Unencodable, make_encoder
from template_kinds import KINDS, of_kind

THOUGHT = "<think>\nhm\n</think>\n\nHello."
EMPTY = "<think>\n\n</think>\n\n"
FINAL = "<|channel|>final<|message|>"


def thinking(words: str = "Hello.", key: str = "reasoning_content", *calls: Any) -> tuple[Message, ...]:
    return (Message("assistant", words, calls, extra=((key, "hm"),)),)


def inference(made: Any, prompt: Text = "Hi", **kwargs: Any) -> str:
    turns = [message_to_json(m) for m in ([Message("user", prompt)] if isinstance(prompt, str) else prompt)]
    return str(made.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **kwargs))


def encoded(
    made: Any, prompt: Text, completion: Text, given: dict[str, Any] | None = None, *, keep: bool = False
) -> tuple[str, str, str]:
    """Return what inference sees of a row, what stands between that and what is trained, and what is trained."""
    [row] = (
        make_encoder(made, max_length=999).with_reasoning(trained=keep).encode([(prompt, completion, (), given or {})])
    )
    assert isinstance(row, Encoded), row
    assert row.prompt.tolist() == made(inference(made, prompt, **(given or {})), add_special_tokens=False)["input_ids"]
    first = int(row.trained.argmax())
    assert row.trained[first:].all()
    return made.decode(row.prompt), made.decode(row.completion[:first]), made.decode(row.completion[first:])


@pytest.mark.parametrize(
    ("kind", "answer", "given", "trained"),
    [
        # A model that would think first is given an empty thought: the words of an answer are not what comes next.
        ("qwen3", "Hello.", EMPTY, "Hello.<|im_end|>"),
        ("qwen3", EMPTY + "Hello.", EMPTY, "Hello.<|im_end|>"),
        ("qwen3-thinking", "Hello.", "\n</think>\n\n", "Hello.<|im_end|>"),
        ("r1", "Hello.", "\n</think>\n\n", "Hello.<|im_end|>"),
        ("gemma", "Hello.<end_of_turn>\n", "", "Hello.<end_of_turn>"),
        ("mistral", "Hello.", "", " Hello.<|im_end|>"),
        ("gpt-oss", "Hello.", "", FINAL + "Hello.<|return|>"),
        ("gpt-oss", "Hello.<|return|>", "", FINAL + "Hello.<|return|>"),
        # The answer as it follows its thought, wherever the log has it.
        ("qwen3", THOUGHT, "<think>\nhm\n</think>\n\n", "Hello.<|im_end|>"),
        ("qwen3", thinking(), "<think>\nhm\n</think>\n\n", "Hello.<|im_end|>"),
        ("qwen3", thinking(key="thinking"), "<think>\nhm\n</think>\n\n", "Hello.<|im_end|>"),
        ("qwen3-thinking", THOUGHT, "hm\n</think>\n\n", "Hello.<|im_end|>"),
        ("qwen3-thinking", "hm\n</think>\n\nHello.", "hm\n</think>\n\n", "Hello.<|im_end|>"),
        ("qwen3-thinking", thinking(key="reasoning"), "hm\n</think>\n\n", "Hello.<|im_end|>"),
        ("r1", THOUGHT, "hm\n</think>\n\n", "Hello.<|im_end|>"),
        ("r1", "hm\n</think>\n\nHello.<|im_end|>", "hm\n</think>\n\n", "Hello.<|im_end|>"),
        ("r1", thinking(), "hm\n</think>\n\n", "Hello.<|im_end|>"),
        (
            "gpt-oss",
            thinking(),
            "<|channel|>analysis<|message|>hm<|end|>",
            "<|start|>assistant" + FINAL + "Hello.<|return|>",
        ),
        (
            "gpt-oss",
            THOUGHT,
            "<|channel|>analysis<|message|>hm<|end|>",
            "<|start|>assistant" + FINAL + "Hello.<|return|>",
        ),
        # A model that does not think answers at once, whoever thought before the answer of the log.
        ("gemma", THOUGHT, "", "Hello.<end_of_turn>"),
        ("gemma", thinking(), "", "Hello.<end_of_turn>"),
        ("mistral", thinking(), "", " Hello.<|im_end|>"),
    ],
)
def test_an_answer_follows_what_inference_sees_and_what_was_thought(
    kind: str, answer: Text, given: str, trained: str
) -> None:
    assert encoded(of_kind(kind), "Hi", answer)[1:] == (given, trained)


@pytest.mark.parametrize(
    ("kind", "answer", "trained"),
    [
        ("qwen3", THOUGHT, THOUGHT + "<|im_end|>"),
        ("qwen3", thinking(), THOUGHT + "<|im_end|>"),
        ("qwen3-thinking", thinking(), "hm\n</think>\n\nHello.<|im_end|>"),
        ("r1", thinking(), "hm\n</think>\n\nHello.<|im_end|>"),
        ("r1", THOUGHT, "hm\n</think>\n\nHello.<|im_end|>"),
        (
            "gpt-oss",
            thinking(),
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant" + FINAL + "Hello.<|return|>",
        ),
        # Beside the words there is no place for it here; inside the words it stands where the log has it.
        ("gemma", thinking(), "Hello.<end_of_turn>"),
        ("gemma", THOUGHT, THOUGHT + "<end_of_turn>"),
        ("mistral", thinking(), " Hello.<|im_end|>"),
    ],
)
def test_reasoning_that_is_kept_is_trained_where_the_template_has_a_place_for_it(
    kind: str, answer: Text, trained: str
) -> None:
    assert encoded(of_kind(kind), "Hi", answer, keep=True)[1:] == ("", trained)


@pytest.mark.parametrize("kind", ["qwen3", "qwen3-thinking", "r1"])
def test_an_empty_thought_is_not_trained_where_reasoning_is_kept(kind: str) -> None:
    _, given, trained = encoded(of_kind(kind), "Hi", "Hello.", keep=True)

    assert given.endswith("\n</think>\n\n")
    assert trained == "Hello.<|im_end|>"


@pytest.mark.parametrize(
    ("kind", "reasons", "shown"), [("qwen3", True, True), ("r1", True, True), ("gemma", True, False)]
)
def test_a_row_says_whether_its_reasoning_has_a_place(kind: str, reasons: bool, shown: bool) -> None:
    encoder = make_encoder(of_kind(kind), max_length=999)
    with_it, without = encoder.encode([("Hi", thinking(), ()), ("Hi", "Hello.", ())])

    assert isinstance(with_it, Encoded)
    assert isinstance(without, Encoded)
    assert (with_it.reasons, with_it.shows_reasoning) == (reasons, shown)
    assert (without.reasons, without.shows_reasoning) == (False, False)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("answer", ["Hello.", EMPTY + "Hello.", THOUGHT, thinking()])
def test_without_thinking_the_empty_block_is_the_prompts_for_a_run_and_for_a_row(answer: Text, keep: bool) -> None:
    wanted = ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" + EMPTY, "", "Hello.<|im_end|>")

    assert encoded(of_kind("qwen3", enable_thinking=False), "Hi", answer, keep=keep) == wanted
    assert encoded(of_kind("qwen3"), "Hi", answer, {"enable_thinking": False}, keep=keep) == wanted


@pytest.mark.parametrize("keep", [False, True])
def test_a_row_may_think_in_a_run_that_does_not(keep: bool) -> None:
    prompt, given, trained = encoded(
        of_kind("qwen3", enable_thinking=False), "Hi", thinking(), {"enable_thinking": True}, keep=keep
    )

    assert prompt.endswith("<|im_start|>assistant\n")
    assert given + trained == THOUGHT + "<|im_end|>"
    assert (given == "") is keep


def test_tokens_without_thinking_are_those_of_the_empty_block() -> None:
    one = encoded(of_kind("qwen3"), "Hi", "Hello.")
    other = encoded(of_kind("qwen3", enable_thinking=False), "Hi", "Hello.")

    assert "".join(one) == "".join(other)
    assert one[2] == other[2]


def test_other_variables_are_the_prompts_too() -> None:
    assert "Reasoning: high" in encoded(of_kind("gpt-oss", reasoning_effort="high"), "Hi", "Hello.")[0]


def test_earlier_reasoning_is_where_the_template_has_it() -> None:
    earlier = thinking("Yes?")

    prompt, _, _ = encoded(of_kind("qwen3"), (Message("user", "Hi"), *earlier, Message("user", "Why?")), "So.")
    assert "hm" not in prompt  # Qwen3 shows it after the last question only
    shown, _, _ = encoded(of_kind("qwen3"), (Message("user", "Hi"), *earlier, Message("tool", "2")), "So.")
    assert "<think>\nhm\n</think>\n\nYes?" in shown


CALL = {"id": "abcdef000", "type": "function", "function": {"name": "weather", "arguments": {}}}
RESULT = Message("tool", "20 C", extra=(("tool_call_id", "abcdef000"), ("name", "weather")))
WEATHER = (Message("user", "Hi"), Message("assistant", "", (CALL,)), RESULT)


def test_a_tools_result_has_its_name_and_id() -> None:
    assert "[TOOL_RESULTS] weather20 Cabcdef000[/TOOL_RESULTS]" in encoded(of_kind("mistral"), WEATHER, "Warm.")[0]
    shown, _, trained = encoded(of_kind("gpt-oss"), WEATHER, "Warm.")
    assert "<|start|>functions.weather to=assistant" in shown
    assert trained == FINAL + "Warm.<|return|>"


def test_a_tool_call_with_an_end_of_its_own_is_ended_by_it() -> None:
    _, _, trained = encoded(of_kind("gpt-oss"), "Hi", (Message("assistant", "", (CALL,)),))

    assert trained == " to=functions.weather<|channel|>commentary json<|message|>{}<|call|>"


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("qwen3", "<tool_call>weather {}</tool_call><|im_end|>"),
        ("qwen3-thinking", "<tool_call>weather {}</tool_call><|im_end|>"),
    ],
)
def test_a_call_follows_its_thought(kind: str, call: str) -> None:
    prompt, given, trained = encoded(of_kind(kind), "Hi", thinking("", "reasoning_content", CALL))

    assert (prompt + given).endswith("<think>\nhm\n</think>\n\n")
    assert trained == call


@pytest.mark.parametrize("keep", [False, True])
def test_each_thought_of_calls_and_answer_is_given_or_trained(keep: bool) -> None:
    completion = (*thinking("", "reasoning_content", CALL), RESULT, *thinking("Warm."))
    [row] = make_encoder(of_kind("qwen3"), max_length=999).with_reasoning(trained=keep).encode([("Hi", completion, ())])
    assert isinstance(row, Encoded)
    made = of_kind("qwen3")

    said = ("<tool_call>weather {}</tool_call><|im_end|>", "Warm.<|im_end|>")
    thought = "<think>\nhm\n</think>\n\n"
    assert made.decode(row.completion[row.trained]) == "".join((thought if keep else "") + words for words in said)
    assert made.decode(row.completion) == (
        f"{thought}{said[0]}\n<|im_start|>tool\n20 C<|im_end|>\n<|im_start|>assistant\n{thought}{said[1]}"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_thought_of_any_length_leaves_the_answer_whole(kind: str) -> None:
    answer = (Message("assistant", "Hello.", extra=(("reasoning_content", "hm " * 200),)),)
    [row] = make_encoder(of_kind(kind), max_length=200).encode([("Hi", answer, ())])
    assert isinstance(row, Encoded)

    assert "Hello." in of_kind(kind).decode(row.completion[row.trained])
    assert len(row.prompt) + len(row.completion) <= 200
    assert not row.completion_cut
    assert row.prompt_cut is (kind not in {"gemma", "mistral"})


@pytest.mark.parametrize(
    ("kind", "prompt", "words"),
    [
        ("gemma", (Message("system", "Be."), Message("user", "Hi")), "System role not supported"),
        ("gemma", (Message("user", "Hi"), Message("user", "Ho")), "roles must alternate"),
        ("mistral", (Message("user", "Hi"), Message("user", "Ho")), "roles must alternate"),
        ("mistral", (Message("user", "Hi"), Message("tool", "20 C")), "IDs should be alphanumeric"),
    ],
)
def test_what_a_template_refuses_is_refused_in_its_words(kind: str, prompt: tuple[Message, ...], words: str) -> None:
    [row] = make_encoder(of_kind(kind), max_length=999).encode([(prompt, "Hello.", ())])

    assert isinstance(row, Unencodable)
    assert words in row.message


@pytest.mark.parametrize("kind", ["gemma", "mistral", "r1"])
def test_a_template_without_a_system_role_refuses_the_row_and_says_what_to_do(kind: str) -> None:
    [row] = make_encoder(of_kind(kind), max_length=999).encode([(SYSTEM_TURN, "Hello.", ())])

    assert isinstance(row, Unencodable)
    assert row.reason == "chat template"
    assert (
        "tokens.chat_template_kwargs.merge_system=true puts the words of a system turn before the first user turn"
        in row.message
    )


SYSTEM_TURN = (Message("system", "Be kind."), Message("user", "Hi"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_system_turn_may_go_into_the_first_user_turn_of_any_template(kind: str) -> None:
    plain, merged = of_kind(kind), of_kind(kind, merge_system=True)

    assert encoded(merged, SYSTEM_TURN, "Hello.") == encoded(plain, "Be kind.\n\nHi", "Hello.")
    # Everything without a system turn is as it was, and whoever gives other values is heard.
    assert encoded(merged, "Hi", "Hello.") == encoded(plain, "Hi", "Hello.")
    assert merged.chat_template == of_kind(kind, merge_system=True).chat_template
    if kind not in {"gemma", "mistral", "r1"}:
        assert encoded(merged, SYSTEM_TURN, "Hello.", {"merge_system": False}) == encoded(plain, SYSTEM_TURN, "Hello.")


def test_content_in_parts_is_one_text_under_every_template() -> None:
    blocks = [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]
    prompt = parse_prompt([{"role": "user", "content": blocks}])
    answer = parse_completion([{"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}])

    for kind in KINDS:
        assert encoded(of_kind(kind), prompt, answer) == encoded(of_kind(kind), "Hi you", "Hello.")


@pytest.mark.parametrize("kind", ["qwen3", "qwen3-thinking", "mistral", "gpt-oss"])
def test_a_call_without_content_is_what_inference_sees_and_what_is_trained(kind: str) -> None:
    called = parse_completion([{"role": "assistant", "content": None, "tool_calls": [CALL]}])
    asked = parse_prompt(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "20 C", "tool_call_id": "abcdef000", "name": "weather"},
        ]
    )

    _, _, trained = encoded(of_kind(kind), "Hi", called)
    assert "weather" in trained
    prompt, _, answer = encoded(of_kind(kind), asked, "Warm.")
    assert "weather" in prompt
    assert "None" not in prompt
    assert "Warm." in answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_sampler_starts_from_the_ids_that_training_had(kind: str) -> None:
    encoder = make_encoder(of_kind(kind), max_length=999)

    for kwargs in ({}, {"enable_thinking": False}, {"enable_thinking": True}):
        [row] = encoder.encode([("Hi", thinking(), (), kwargs)])
        assert isinstance(row, Encoded)
        assert row.prompt.tolist() == encoder.prompt_ids(Prompt("Hi", chat_template_kwargs=kwargs))
