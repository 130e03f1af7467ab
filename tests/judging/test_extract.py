"""From replies to verdicts: strict, and never a verdict that is not there."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.judging.extract import RULES, extract
from haloes.judging.template import load_template, template_names

NAMED = {"first": "Response 1", "second": "Response 2"}
WHOLE = {"first": "m", "second": "M"}
LAST = {"first": "[[A]]", "second": "[[B]]", "tie": "[[C]]"}

PIECES = "Response|1|2|12|Response 1|response 2|Response 12|m|M|mM|[[A]]|[[B]]|[[C]]|[A]|I|prefer|not|both|\n|.|'|*"
words = st.lists(
    st.sampled_from([*PIECES.split("|"), "<think>", "</think>"]) | st.text(max_size=8),
).map(" ".join)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Response 1", "first"),
        ("Response 2.", "second"),
        ('"response 2"', "second"),
        ("**Response 1**", "first"),
        ("Response  1 is more helpful, harmless, and concise.", "first"),
        ("I would pick Response 2, since it answers the question.", "second"),
        ("<think>Response 1 is short, Response 2 is rude.</think>\n\nResponse 1", "first"),
        ("", None),
        ("   \n", None),
        ("Sorry, I am an assistant.", None),
        ("1", None),
        ("Response 12", None),
        ("Response 1.5", None),
        ("Response 1 or Response 2", None),
        ("Response 2 is more concise than Response 1.", None),
        ("Neither Response 1 is any good.", None),
        ("I cannot pick Response 1.", None),
        ("I wouldn't choose Response 2.", None),
        ("I wouldn’t choose Response 2.", None),
        ("Response 1 is worse.", None),
        ("<think>Response 1", None),
        ("Response 2</think>", None),
        ("Response 2 is rude.\n</think>\n\nResponse 1", "first"),
        ("Hm. </think> Response 2? <think>Wait.</think> Response 1", None),
        ("</think>Response 1", "first"),
        ("Response 1 </think> <think> but", None),
        ("<think>Response 2 <think>or</think> not</think> Response 1", "first"),
        ("[THINK]Response 2?[/THINK]Response 1", "first"),
        ("◁think▷Response 2?◁/think▷Response 1", "first"),
        ("<|channel|>analysis<|message|>Response 2?<|end|><|channel|>final<|message|>Response 1", "first"),
        ("<|channel|>analysis<|message|>Response 1", None),
    ],
)
def test_a_named_response(reply: str, verdict: str | None):
    assert extract(reply, NAMED, "named")[0] == verdict


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("m", "first"),
        ("M", "second"),
        (" M\n", "second"),
        ("`m`", "first"),
        ("'M'.", "second"),
        ("mM", None),
        ("model m", None),
        ("m or M", None),
        ("m\nM", None),
        ("", None),
        ("\u03bc", None),
    ],
)
def test_a_label_alone(reply: str, verdict: str | None):
    assert extract(reply, WHOLE, "whole")[0] == verdict


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A explains more.\n\n[[A]]", "first"),
        ("[[B]]", "second"),
        ("They are alike. [[C]]", "tie"),
        ("At first [[A]] seemed right.\nFinal verdict: [[B]] [[B]]\nThank you.", "second"),
        ("[[A]] if A is better, [[B]] if B is", None),
        ("[A]", None),
        ("[[a]]", None),
        ("[[D]]", None),
        ("Assistant A is better.", None),
    ],
)
def test_the_last_line_with_a_verdict(reply: str, verdict: str | None):
    assert extract(reply, LAST, "last")[0] == verdict


def test_a_reply_of_thoughts_alone_says_so():
    assert extract("<think>Response 1</think>", NAMED, "named")[1] == "the reply is a thought and nothing else"
    assert extract("", NAMED, "named")[1] == "the reply is empty"


def test_the_reason_says_what_was_taken_for_the_verdict():
    assert extract("I say Response 2!", NAMED, "named")[1] == "the reply names 'Response 2' alone: 'I say Response 2!'"
    assert "'Response 1' and 'Response 2'" in extract("Response 1, Response 2", NAMED, "named")[1]
    assert "says 'not'" in extract("not Response 1", NAMED, "named")[1]
    assert extract("x" * 200, WHOLE, "whole")[1].endswith("x…'")


@given(words)
def test_there_is_no_verdict_without_its_label(reply: str):
    for labels, rule in ((NAMED, "named"), (WHOLE, "whole"), (LAST, "last")):
        verdict, reason = extract(reply, labels, rule)
        assert reason
        if verdict is not None:
            spaced = re.sub(r"\s+", " ", reply).casefold()
            assert labels[verdict].casefold() in spaced
            assert "<think>" not in re.sub(r"(?s)<think>.*?</think>", "", reply)


@given(words)
def test_two_verdicts_are_none(reply: str):
    assert extract(f"{reply} Response 1 Response 2", NAMED, "named")[0] is None
    if "</think>" not in reply:  # which leaves what stands before it aside
        assert extract(f"m {reply} M", WHOLE, "whole")[0] is None
    assert extract(f"{reply}\n[[A]] or [[B]]", LAST, "last")[0] is None


@given(st.text(alphabet=st.characters(exclude_characters="12mM[]"), max_size=200))
def test_text_without_any_label_holds_no_verdict(reply: str):
    for name in template_names():
        assert load_template(name).verdict(reply)[0] is None


@given(words)
def test_swapping_the_labels_swaps_the_verdict(reply: str):
    other = {"first": "second", "second": "first", "tie": "tie", None: None}
    for labels, rule in ((NAMED, "named"), (WHOLE, "whole"), (LAST, "last")):
        swapped = {**labels, "first": labels["second"], "second": labels["first"]}
        assert extract(reply, swapped, rule)[0] == other[extract(reply, labels, rule)[0]]


def test_the_rules_have_names():
    assert set(RULES) == {"whole", "last", "named"}
