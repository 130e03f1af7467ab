"""Signs in texts: an answer that breaks off, HTML, a question that leans on what was said before."""

import pytest

from haloes.feedback.doctor.text_signs import ends_a_sentence, has_html, is_cut_off, leans_on_earlier


@pytest.mark.parametrize(
    "text",
    [
        "First you open the lid. Then you press the red but",
        "You need flour, eggs, milk,",
        "It was found in the desert. The",
        "There are two ways to do this in your case and the first of them is to",
        "Here it is:\n```python\ndef f(x):\n    return",
        "Erst öffnen Sie den Deckel. Danach drücken Sie den roten Kn",
    ],
)
def test_answers_that_break_off(text: str) -> None:
    assert is_cut_off(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "Paris", "yes", "42", "a red bicycle", "Open the lid.", "Is that so?", 'He said "no."', "Sure! :)",
        "Open the lid.\n\n- the red one\n- the blue one", "1. Open it.\n2. close it", "x = 3\n\nSo the answer is x = 3",
        "Use this:\n```python\nreturn 1\n```", "Dear Ann,\n\nI am well. How are you?\n\nYours,\nBob Smith",
        "| a | b |\n|---|---|\n| one of these | two of those |", "See the manual (page 4)", "请先打开盖子。",
    ],
)  # fmt: skip
def test_answers_that_end(text: str) -> None:
    assert not is_cut_off(text)


def test_sentences_end_with_their_marks_and_what_closes_after_them() -> None:
    assert all(map(ends_a_sentence, ["Yes.", "Yes!**", "Done (really)", "```\nx\n```", "是。", "So:"]))
    assert not any(map(ends_a_sentence, ["yes", "the,", "and"]))


def test_html_counts_outside_of_code_only() -> None:
    for text in ("<p>Hello</p>", "a<br>b", "a<br />b", "fish&nbsp;chips", "<div class='x'>y", "&#39;tis"):
        assert has_html(text)
    for text in (
        "a < b and c > d",
        "`<p>x</p>`",
        "```html\n<p>x</p>\n```",
        "R&D; AT&T",
        "<think>hm</think>",
        "List<a>",
    ):
        assert not has_html(text)


@pytest.mark.parametrize(
    "question",
    ["ok and then?", "And in winter?", "why?", "What about it", "the second one", "shorter please"],
)
def test_short_questions_that_lead_back_lean_on_earlier_turns(question: str) -> None:
    assert leans_on_earlier(question)


@pytest.mark.parametrize(
    "question",
    [
        *("How do I cook rice?", "", "Italian recipes", "Andrew asks who wrote this", "Nobody answers", "Why is it?"),
        "and now " + "please write a long letter to the landlord about the heating " * 2,
    ],
)
def test_whole_questions_lean_on_nothing(question: str) -> None:
    assert not leans_on_earlier(question)
