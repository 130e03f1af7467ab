"""The findings about tokens as text."""

import dataclasses

import pytest

from fake_tokenizers import ASKS_FOR_THINKING, CHATML, DROPS_THINKING, REWRITES
from fakes import byte_tokenizer
from haloes.records import Feedback, Message, Where
from haloes.tokens.doctor.advice import advise
from haloes.tokens.doctor.inspect import TokenFindings, inspect_tokens
from haloes.tokens.doctor.render import render
from haloes.tokens.encode import make_encoder


def inspect(rows: list[Feedback], chat_template: str | None, *, max_length: int = 60) -> TokenFindings:
    return inspect_tokens(rows, make_encoder(byte_tokenizer(chat_template=chat_template), max_length=max_length))


def vote(line: int, prompt: str, completion: str | tuple[Message, ...], label: bool) -> Feedback:
    return Feedback(prompt=prompt, completion=completion, label=label, where=Where("f.jsonl", line))


def test_findings_are_told_in_lines() -> None:
    rows = [
        vote(1, "Hi", "No", label=True),
        vote(2, "Hi", "Hello.", label=False),
        vote(3, "Hi", (Message("user", "Me."),), label=True),
        vote(4, "p" * 50, "." * 50, label=True),
    ]

    asked, end = "...Hi<|im_end|>\n<|im_start|>assistant\n", "\n"
    assert render(inspect(rows, REWRITES)) == [
        "tokens    4 rows, 3 encoded, 1 refused",
        "          1 refused: nothing to train on",
        "              f.jsonl:3: the completion has no turn of the assistant",
        "template  the tokenizer's chat template; an answer ends with '<|im_end|>'",
        "lengths   in tokens                             median     p95    most",
        "          prompt, desirable                         21      69      69",
        "          prompt, undesirable                       21      21      21",
        "          completion, desirable                      3      51      51",
        "          completion, undesirable                    7       7       7",
        "          prompt and completion, desirable          24     120     120",
        "          prompt and completion, undesirable        28      28      28",
        "window    60 tokens; 1 of 3 rows are longer",
        "          prompt cut in 1: f.jsonl:4",
        "          completion cut in 1: f.jsonl:4",
        "joint     prompt and answer rendered together differ in 2 rows: f.jsonl:2, f.jsonl:4",
        "          f.jsonl:2",
        f"              trained, as inference sees it: {asked + 'Hello.<|im_end|>'!r}",
        f"              rendered together:             {asked + 'Hello!<|im_end|>' + end!r}",
    ]


def test_rows_that_fit_are_told_with_the_longest() -> None:
    lines = render(inspect([vote(1, "Hi", "Hello.", label=True)], CHATML))

    assert lines[-1] == "window    60 tokens; all rows fit, the longest has 28"


def test_places_that_are_not_named_are_hinted_at() -> None:
    lines = render(inspect([vote(line, "Hi", "a" * 99, label=True) for line in range(1, 6)], CHATML))

    assert lines[-1] == "          completion cut in 5: f.jsonl:1, f.jsonl:2, f.jsonl:3, ..."


def test_a_tokenizer_without_a_template_is_told() -> None:
    lines = render(inspect([], None))

    assert lines == [
        "tokens    0 rows, 0 encoded, 0 refused",
        "template  none: texts stand as they are; an answer ends with '<|im_end|>'",
    ]


def test_advice_begins_with_its_severity() -> None:
    findings = inspect([vote(1, "Hi", "a" * 99, label=True)], CHATML)

    assert render(findings, advise(findings))[-3:] == [
        "warning: 1 of 1 (100.0%) rows have a completion that does not fit the window of 60 tokens",
        "    means: their end, and the token that ends the turn, are not trained: half an answer is judged as a whole",
        "    do:    raise tokens.max_length (no row is longer than 121), or leave long answers out",
    ]


HEADER = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] }}{{ '<final>' if m['role'] == 'assistant' }}"
    "{{ '\n' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
)


def test_what_the_model_writes_itself_before_its_words_is_told() -> None:
    lines = render(inspect([Feedback(prompt="Hi", completion="Hello.", label=True)], HEADER))

    assert "          the model itself writes '<final>\\n' before its words, and learns to" in lines


def test_what_the_prompt_says_of_the_answer_is_told() -> None:
    lines = render(inspect([Feedback(prompt="Hi", completion="Hello.", label=True)], ASKS_FOR_THINKING))

    assert "          the prompt begins the answer with '<think>\\n', which is not trained" in lines


THOUGHT = "<think>\nhm\n</think>\n\nHello."


@pytest.mark.parametrize(
    ("keep", "told"),
    [(False, "the answer is trained as it follows it"), (True, "it is trained with the answer")],
)
def test_what_becomes_of_reasoning_is_told_with_its_rows(keep: bool, told: str) -> None:
    rows = [
        vote(1, "Hi", THOUGHT, label=True),
        vote(2, "Hi", "Hello.", label=True),
        dataclasses.replace(vote(3, "Hi", THOUGHT, label=True), chat_template_kwargs={"enable_thinking": False}),
    ]
    think = "{% if enable_thinking is not defined %}{{ '<think>\n' }}{% else %}{{ '<think></think>' }}{% endif %}"
    chat_template = DROPS_THINKING.replace("assistant\n' }}{% endif %}", "assistant\n' }}" + think + "{% endif %}")
    encoder = make_encoder(byte_tokenizer(chat_template=chat_template), max_length=99).with_reasoning(trained=keep)
    lines = render(inspect_tokens(rows, encoder))

    assert f"reasoning in 1 of 3 rows; {told}: f.jsonl:1" in lines
    assert "          in 1 more; left out, as this model does not think here: f.jsonl:3" in lines


def test_a_block_of_thoughts_of_every_answer_is_told_as_given() -> None:
    chat_template = CHATML.replace(
        "m['content']", "('<think></think>' if m['role'] == 'assistant' else '') + m['content']"
    )
    lines = render(inspect([vote(1, "Hi", "Hello.", label=True)], chat_template))

    assert "          the model itself writes '<think></think>' before its words; it is given, and not trained" in lines
