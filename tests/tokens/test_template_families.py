"""What inference sees is what is trained, under small templates of the kinds that published models have."""

from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from fakes import byte_tokenizer
from haloes.records import Message, Text
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.encode import Encoded, Unencodable, make_encoder

QWEN3 = (
    "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}{%- if m.role != 'assistant' %}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{%- else %}{%- set content, reasoning = m.content, m.reasoning_content or '' %}"
    "{%- if '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{{- '<|im_start|>assistant\n' }}{%- if loop.index0 > ns.last and (loop.last or reasoning) %}"
    "{{- '<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' }}{%- endif %}"
    "{{- content.lstrip('\n') + '<|im_end|>\n' }}"
    "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
QWEN3_THINKING = QWEN3.replace(
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}",
    "{{- '<think>\n' }}",
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>' + m.content }}{% endif %}"
    "{% if m.role == 'assistant' %}{{ '<|bot|>' + m.content.split('</think>')[-1] + '<|im_end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|bot|><think>\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ m.content | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% set ns = namespace(i=0) %}{% for m in messages %}{% if m.role in ['user', 'assistant'] and "
    "not m.tool_calls %}{% if (m.role == 'user') != (ns.i % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% set ns.i = ns.i + 1 %}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
    "{% elif m.role == 'tool' %}{% if m.tool_call_id is undefined or m.tool_call_id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}"
    "{{ '[TOOL_RESULTS] ' + m.name + m.content + m.tool_call_id + '[/TOOL_RESULTS]' }}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS] ' + (m.tool_calls | tojson) + eos_token }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}"
    "{% else %}{{ raise_exception('Only user, assistant and tool roles') }}{% endif %}{% endfor %}"
)
GPT_OSS = (
    "{{ '<|start|>system<|message|>Reasoning: ' + (reasoning_effort or 'medium') + '<|end|>' }}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if '<|channel|>' in m.content %}"
    "{{ raise_exception('You have passed a message containing <|channel|> tags in the content field.') }}{% endif %}"
    "{% if m.tool_calls %}{{ '<|start|>assistant to=functions.' + m.tool_calls[0].function.name }}"
    "{{ '<|channel|>commentary json<|message|>' + (m.tool_calls[0].function.arguments | tojson) + '<|call|>' }}"
    "{% elif loop.last and not add_generation_prompt %}"
    "{% if m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{% else %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endif %}"
    "{% elif m.role == 'tool' %}{{ '<|start|>functions.' + m.name + ' to=assistant<|channel|>commentary<|message|>' }}"
    "{{ m.content + '<|end|>' }}"
    "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
GPT_OSS_MARKS = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>")
THOUGHT = "<think>\nhm\n</think>\n\nHello."


def tokenizer(chat_template: str, marks: tuple[str, ...] = (), **kwargs: Any) -> Any:
    made = byte_tokenizer(chat_template=chat_template)
    special = [AddedToken(mark, special=True, normalized=False) for mark in marks]
    made.add_special_tokens({"additional_special_tokens": special})
    return with_template_kwargs(made, kwargs)


def encoded(made: Any, prompt: Text, completion: Text, given: dict[str, Any] | None = None) -> tuple[str, str]:
    """Return what is shown and what is trained of one row."""
    [row] = make_encoder(made, max_length=999).encode([(prompt, completion, (), given or {})])
    assert isinstance(row, Encoded), row
    assert row.trained.all()
    return made.decode(row.prompt), made.decode(np.array(row.completion))


@pytest.mark.parametrize(
    ("chat_template", "marks", "answer", "trained"),
    [
        (QWEN3, (), "Hello.", "Hello.<|im_end|>"),
        (QWEN3, (), THOUGHT, THOUGHT + "<|im_end|>"),
        (QWEN3_THINKING, (), "Hello.", "\n</think>\n\nHello.<|im_end|>"),
        (QWEN3_THINKING, (), THOUGHT, "hm\n</think>\n\nHello.<|im_end|>"),
        (QWEN3_THINKING, (), "hm\n</think>\n\nHello.", "hm\n</think>\n\nHello.<|im_end|>"),
        (R1, (), THOUGHT, "hm\n</think>\n\nHello.<|im_end|>"),
        (R1, (), "hm\n</think>\n\nHello.<|im_end|>", "hm\n</think>\n\nHello.<|im_end|>"),
        (GEMMA, ("<start_of_turn>", "<end_of_turn>"), "Hello.<end_of_turn>\n", "Hello.<end_of_turn>"),
        (MISTRAL, (), "Hello.", " Hello.<|im_end|>"),
        (GPT_OSS, GPT_OSS_MARKS, "Hello.", "<|channel|>final<|message|>Hello.<|return|>"),
        (GPT_OSS, GPT_OSS_MARKS, "Hello.<|return|>", "<|channel|>final<|message|>Hello.<|return|>"),
    ],
)
def test_an_answer_follows_what_inference_sees(
    chat_template: str, marks: tuple[str, ...], answer: str, trained: str
) -> None:
    made = tokenizer(chat_template, marks)
    inference = made.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )

    assert encoded(made, "Hi", answer) == (inference, trained)


@pytest.mark.parametrize("answer", ["Hello.", "<think>\n\n</think>\n\nHello."])
def test_without_thinking_the_empty_block_is_the_prompts_for_a_run_and_for_a_row(answer: str) -> None:
    wanted = ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", "Hello.<|im_end|>")

    assert encoded(tokenizer(QWEN3, enable_thinking=False), "Hi", answer) == wanted
    assert encoded(tokenizer(QWEN3), "Hi", "Hello.", {"enable_thinking": False}) == wanted


def test_a_row_may_think_in_a_run_that_does_not() -> None:
    prompt, trained = encoded(tokenizer(QWEN3, enable_thinking=False), "Hi", THOUGHT, {"enable_thinking": True})

    assert prompt.endswith("<|im_start|>assistant\n")
    assert trained == THOUGHT + "<|im_end|>"


def test_other_variables_are_the_prompts_too() -> None:
    assert "Reasoning: high" in encoded(tokenizer(GPT_OSS, GPT_OSS_MARKS, reasoning_effort="high"), "Hi", "Hello.")[0]


def test_earlier_reasoning_is_where_the_template_has_it() -> None:
    earlier = Message("assistant", "Yes?", extra=(("reasoning_content", "hm"),))

    prompt, _ = encoded(tokenizer(QWEN3), (Message("user", "Hi"), earlier, Message("user", "Why?")), "So.")
    assert "hm" not in prompt  # Qwen3 shows it after the last question only
    shown, _ = encoded(tokenizer(QWEN3), (Message("user", "Hi"), earlier, Message("tool", "2")), "So.")
    assert "<think>\nhm\n</think>\n\nYes?" in shown


def test_a_tools_result_has_its_name_and_id() -> None:
    call = {"id": "abcdef000", "type": "function", "function": {"name": "weather", "arguments": {}}}
    result = Message("tool", "20 C", extra=(("tool_call_id", "abcdef000"), ("name", "weather")))
    turns = (Message("user", "Hi"), Message("assistant", "", (call,)), result)

    assert "[TOOL_RESULTS] weather20 Cabcdef000[/TOOL_RESULTS]" in encoded(tokenizer(MISTRAL), turns, "Warm.")[0]
    shown, trained = encoded(tokenizer(GPT_OSS, GPT_OSS_MARKS), turns, "Warm.")
    assert "<|start|>functions.weather to=assistant" in shown
    assert trained == "<|channel|>final<|message|>Warm.<|return|>"


def test_a_tool_call_with_an_end_of_its_own_is_ended_by_it() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": {"at": "x"}}}
    _, trained = encoded(tokenizer(GPT_OSS, GPT_OSS_MARKS), "Hi", (Message("assistant", "", (call,)),))

    assert trained == ' to=functions.weather<|channel|>commentary json<|message|>{"at": "x"}<|call|>'


@pytest.mark.parametrize(
    ("chat_template", "prompt", "words"),
    [
        (GEMMA, (Message("system", "Be."), Message("user", "Hi")), "System role not supported"),
        (GEMMA, (Message("user", "Hi"), Message("user", "Ho")), "roles must alternate"),
        (MISTRAL, (Message("user", "Hi"), Message("user", "Ho")), "roles must alternate"),
        (MISTRAL, (Message("user", "Hi"), Message("tool", "20 C")), "IDs should be alphanumeric"),
    ],
)
def test_what_a_template_refuses_is_refused_in_its_words(
    chat_template: str, prompt: tuple[Message, ...], words: str
) -> None:
    [row] = make_encoder(tokenizer(chat_template), max_length=999).encode([(prompt, "Hello.", ())])

    assert isinstance(row, Unencodable)
    assert words in row.message
