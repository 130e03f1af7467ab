"""Texts that begin with a thought, and texts that do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.thoughts import Thought, is_closed_at_end, opening_at_end, split_thought

PIECES = [
    "<think>",
    "</think>",
    "<thinking>",
    "[THINK]",
    "[/THINK]",
    "\n",
    " ",
    "hm",
    "<|channel|>analysis<|message|>",
    "<|end|>",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "thought", "rest"),
    [
        ("<think>\nhm\n</think>\n\nYes.", "hm", "Yes."),
        ("\n<THINK>hm</THINK>Yes.", "hm", "Yes."),
        ("<thinking>hm</thinking> Yes.", "hm", "Yes."),
        ("<seed:think>hm</seed:think>Yes.", "hm", "Yes."),
        ("[THINK]hm[/THINK]Yes.", "hm", "Yes."),
        ("◁think▷hm◁/think▷Yes.", "hm", "Yes."),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant", "hm", "<|start|>assistant"),
        ("<think>a <thinking> b</think>Yes.", "a <thinking> b", "Yes."),
        ("hm\n</think>\n\nYes.", "hm", "Yes."),
        ("<think>\n\n</think>\n\nYes.", "", "Yes."),
    ],
)
def test_a_thought_is_divided_from_the_answer(text: str, thought: str, rest: str) -> None:
    found = split_thought(text)

    assert found is not None
    assert (found.text, found.rest, found.closed) == (thought, rest, True)


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "",
        "Say <think>hm</think>.",
        "It ends with </think> in R1.",
        "Use <think>\nhm\n</think>\nthen.",
        "<reasoning>a</reasoning>",
    ],
)
def test_marks_inside_an_answer_are_its_own(text: str) -> None:
    assert split_thought(text) is None


def test_a_thought_without_its_end_has_no_answer() -> None:
    assert split_thought("<think>hm") == Thought("<think>hm", "hm", "", closed=False)
    assert split_thought("hm", opened=True) == Thought("hm", "hm", "", closed=False, marked=False)


def test_the_end_of_a_prompt_says_whether_the_model_goes_on_thinking() -> None:
    assert opening_at_end("assistant\n<think>\n") == "</think>"
    assert opening_at_end("assistant\n[THINK]") == "[/THINK]"
    assert opening_at_end("<think>\n\n</think>\n\n") is None
    assert is_closed_at_end("<think>\n\n</think>\n\n")
    assert not is_closed_at_end("assistant\n<think>\n")


@given(TEXTS, st.booleans())
def test_nothing_of_a_text_is_lost(text: str, opened: bool) -> None:
    found = split_thought(text, opened=opened)

    assert found is None or found.lead + found.rest == text
    assert found is None or found.closed or found.rest == ""
