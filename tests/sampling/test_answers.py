"""What a model writes, read as its answer and the thought before it."""

from typing import Any

import pytest

from haloes.records import Completion, Feedback, Message
from haloes.records_json import completion_from_json, row_to_json
from haloes.sampling.answers import Said, read_answer
from haloes.sampling.generate import end_of_turn_ids
from haloes.tokens.encode import Encoded, make_encoder
from template_kinds import KINDS, of_kind

THINKING = (Message("assistant", "Hello.", extra=(("reasoning_content", "hm"),)),)
THINKERS = [kind for kind in KINDS if kind not in {"gemma", "mistral"}]


def read(kind: str, written: str, *, ended: bool = True, **kwargs: Any) -> Said:
    made = of_kind(kind, **kwargs)
    encoder = make_encoder(made, max_length=999)
    ids = made(written, add_special_tokens=False)["input_ids"]
    return read_answer(encoder.template, encoder.prompt_ids("Hi"), ids, end_of_turn_ids(made, None), ended=ended)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["Hello.", THINKING])
def test_what_is_trained_is_read_as_the_answer_that_it_came_from(kind: str, answer: Any) -> None:
    made = of_kind(kind)
    encoder = make_encoder(made, max_length=999).with_reasoning(trained=True)
    [row] = encoder.encode([("Hi", answer, ())])
    assert isinstance(row, Encoded)

    said = read_answer(
        encoder.template, row.prompt.tolist(), row.completion.tolist(), end_of_turn_ids(made, None), ended=True
    )

    thinks = kind in THINKERS and answer == THINKING
    assert (said.words.strip(), said.reasoning, said.finished) == ("Hello.", "hm" if thinks else "", True)
    # And an answer that was sampled is measured as the tokens that were.
    sampled = Completion(
        prompt_id="a",
        prompt="Hi",
        completion=said.words,
        reasoning=said.reasoning,
        model="m",
        num_tokens=9,
        finished=True,
    )
    [again] = encoder.encode([("Hi", sampled.text, ())])
    assert isinstance(again, Encoded)
    assert again.completion.tolist() == row.completion.tolist()


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("qwen3", "<think>\nhm, wait"),
        ("qwen3-thinking", "hm, wait"),
        ("r1", "hm, wait"),
        ("gpt-oss", "<|channel|>analysis<|message|>hm, wait"),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_an_answer_that_is_over_inside_its_thought_is_empty_and_unfinished(
    kind: str, written: str, ended: bool
) -> None:
    assert read(kind, written, ended=ended) == Said("", "hm, wait", finished=False)


def test_without_thinking_an_answer_is_its_words() -> None:
    assert read("qwen3", "Hello.<|im_end|>", enable_thinking=False) == Said("Hello.", "", finished=True)
    assert read("qwen3", "<think>\n\n</think>\n\nHello.<|im_end|>") == Said("Hello.", "", finished=True)


def test_a_tag_inside_an_answer_is_a_part_of_it() -> None:
    for written in ("Write <think> first.", "It ends with </think>, as in R1.", "Use <think>\nso\n</think>\nthen."):
        assert read("qwen3", written + "<|im_end|>") == Said(written, "", finished=True)


def test_reasoning_is_kept_in_a_field_of_its_own() -> None:
    answer = Completion(
        prompt_id="a", prompt="Hi", completion="Hello.", reasoning="hm", model="m", num_tokens=9, finished=True
    )

    assert row_to_json(answer)["reasoning"] == "hm"
    assert completion_from_json(row_to_json(answer), where="f:1") == answer
    assert answer.text == THINKING
    assert Feedback(prompt="Hi", completion=answer.text).completion == THINKING
