"""Which answers look cut off, in prose and elsewhere."""

import pytest

from haloes.feedback.doctor.endings import Ends, breaks_off
from haloes.records import Message


@pytest.mark.parametrize(
    "text",
    [
        "First open the lid. Then press the",
        "Yes, there are a few of them. Apples, pears,",
        "That is a good question. It depends on how you",
        "Here it is:\n```python\ndef f(x):\n    return x",
    ],
)
def test_answers_that_look_cut_off(text: str) -> None:
    assert breaks_off(text)
    assert breaks_off((Message("assistant", text),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes",
        "blue whale",
        "No",
        "42",
        "Paris, France",
        "I hope that this helps! 😊",
        "我不知道。",
        "我喜欢这本书,因为它很有意思",
        "هل هذا صحيح؟",
        "لا أعرف ذلك",
        "- milk\n- eggs\n- a loaf of bread that is not too hard",
        "1. Open the lid of it\n2. Press the red button on it",
        "apples and pears\nmilk from the farm\na loaf of bread that is not too hard",
        "The woods are lovely, dark and deep,\nbut I have promises to keep\nand miles to go before I sleep",
        "Here it is:\n```python\ndef f(x):\n    return x\n```",
        "for i in range(10): print(i)",
        "The answer is $x = 3 + y$",
        "See https://example.org/a/page",
        "He said: 'Then press the red button.'",
        "#### 72",
    ],
)
def test_answers_that_may_be_whole(text: str) -> None:
    assert not breaks_off(text)


def test_an_answer_that_calls_a_tool_is_whole() -> None:
    assert not breaks_off((Message("assistant", "I look it up. First in the", tool_calls=({"name": "find"},)),))


def test_a_file_ends_its_sentences_where_half_of_the_longer_answers_do() -> None:
    ends = Ends()
    assert ends.are_sentences
    ends.count("Yes")
    ends.count("you open the lid and press it until it is red")
    assert not ends.are_sentences
    ends.count("You open the lid and press it until it is red.")
    assert ends.are_sentences
