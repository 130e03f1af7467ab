"""The rule that decides whether an exported file says what the run's model says, by hand."""

import math
from typing import Any

import pytest
import torch

from haloes.exports.comparison import AnswerComparison, Comparison
from haloes.exports.transformers_reader import distance

SAME: dict[str, Any] = {"prompt": "a", "num_equal": 3, "num_tokens": 3, "distance": 0.01}


def comparison(**changes: Any) -> Comparison:
    base: dict[str, Any] = {
        "by": "llama.cpp",
        "quantize": "q8_0",
        "prompts": {"a": "equal", "b": "equal"},
        "conversations": {"several turns": "equal", "tools": "equal"},
        "answers": (AnswerComparison(**SAME),),
    }
    return Comparison(**base | changes)


def test_equal_tokens_and_close_answers_are_no_fault():
    assert comparison().faults == ()
    assert comparison().notes == ()


def test_other_tokens_of_a_held_out_prompt_are_a_fault():
    [fault] = comparison(prompts={"a": "equal", "b": "differs"}).faults

    assert fault == "llama.cpp makes other tokens of 1 of 2 held-out prompts (b)"


def test_another_rendering_of_a_conversation_is_a_fault():
    assert comparison(conversations={"several turns": "differs"}).faults == (
        "llama.cpp makes other tokens of several turns",
    )


def test_another_rendering_of_tools_is_a_fault_only_where_the_run_has_tools():
    conversations = {"tools": "differs", "a tool's result": "differs"}

    assert comparison(conversations=conversations).faults == ()
    assert "tools, a tool's result otherwise" in comparison(conversations=conversations).notes[0]
    assert comparison(conversations=conversations, needs_tools=True).faults == (
        "llama.cpp makes other tokens of tools, a tool's result",
    )


@pytest.mark.parametrize(("kind", "far"), [("f16", 0.03), ("q8_0", 0.3), ("q4_k_m", 1.6)])
def test_an_answer_that_differs_by_more_than_its_quantisation_is_a_fault(kind: str, far: float):
    near, further = (AnswerComparison(**SAME | {"distance": nats}) for nats in (far / 10, far))

    assert comparison(quantize=kind, answers=(near,)).faults == ()
    [fault] = comparison(quantize=kind, answers=(near, further)).faults
    assert f"differs by {far:.3f} nats a token" in fault


def test_answers_may_part_where_two_tokens_are_as_good_as_equally_likely():
    tie, other = (AnswerComparison(**SAME | {"num_equal": 2, "gap": nats}) for nats in (0.05, 2.0))

    assert comparison(answers=(tie,)).faults == ()
    [fault] = comparison(answers=(other,)).faults
    assert "parts after 2 tokens" in fault


@pytest.mark.parametrize("field", ["distance", "gap"])
def test_a_number_that_is_none_is_a_fault(field: str):
    assert comparison(answers=(AnswerComparison(**SAME | {field: math.nan}),)).faults


def test_an_end_of_turn_that_does_not_end_an_answer_is_a_fault():
    assert comparison(runs_on=("<|im_end|>",)).faults == (
        "llama.cpp does not stop at <|im_end|>, which ends the model's turn",
    )


def test_a_distance_is_weighted_by_what_the_model_holds_for_likely():
    model = torch.tensor([0.75, 0.25]).log()
    other = {0: math.log(0.5), 1: math.log(0.5)}

    # 0.75 * ln(0.75 / 0.5) + 0.25 * ln(0.5 / 0.25)
    assert distance(model, other) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(2.0))
    assert distance(model, {0: math.log(0.75)}) == pytest.approx(0.0, abs=1e-6)
    assert distance(model, {}) == distance(model, {7: -1.0}) == math.inf
