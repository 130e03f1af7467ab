"""The findings about tokens as text."""

from fake_tokenizers import ASKS_FOR_THINKING, CHATML, INSERTS_THINKING
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
        vote(1, "Hi", "<think></think>No.", label=True),
        vote(2, "Hi", "Hello.", label=False),
        vote(3, "Hi", (Message("user", "Me."),), label=True),
        vote(4, "p" * 50, "a" * 50, label=True),
    ]

    asked, think, end = "...user\nHi<|im_end|>\n<|im_start|>assistant\n", "<think>\n\n</think>\n\n", "\n"
    assert render(inspect(rows, INSERTS_THINKING)) == [
        "tokens    4 rows, 3 encoded, 1 refused",
        "          1 refused: nothing to train on",
        "              f.jsonl:3: the completion has no turn of the assistant",
        "template  the tokenizer's chat template; an answer ends with '<|im_end|>'",
        "lengths   in tokens                             median     p95    most",
        "          prompt, desirable                         21      69      69",
        "          prompt, undesirable                       21      21      21",
        "          completion, desirable                     19      51      51",
        "          completion, undesirable                    7       7       7",
        "          prompt and completion, desirable          40     120     120",
        "          prompt and completion, undesirable        28      28      28",
        "window    60 tokens; 1 of 3 rows are longer",
        "          prompt cut in 1: f.jsonl:4",
        "          completion cut in 1: f.jsonl:4",
        "joint     prompt and answer rendered together differ in 2 rows: f.jsonl:2, f.jsonl:4",
        "          f.jsonl:2",
        f"              trained, as inference sees it: {asked + 'Hello.<|im_end|>'!r}",
        f"              rendered together:             {asked + think + 'Hello.<|im_end|>' + end!r}",
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
