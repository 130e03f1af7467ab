"""The demo's rater, on answers as a small model writes them."""

import pytest

from haloes.recipes.demo.rule import rate
from haloes.records import Message

PROMPT = "Why does ice float on water?"
GOOD = "You see ice float because it is less dense than water."


def reason(completion: str, *, prompt: str = PROMPT, finished: bool = True) -> str:
    rating = rate(prompt, completion, finished)
    assert rating.liked == (rating.reason == "opens plainly")
    return rating.reason


@pytest.mark.parametrize(
    "completion",
    [
        GOOD,
        "Because it is lighter than water!",
        "*Bon voyage* means (roughly) have a good trip",
        "1. Rinse it.\n2. Dry it.",
        "Assure your guests that dinner is ready.",
        "Would you sink? Ice does not.",
        "Anaesthesia is one. There are others.",
        " Then water expands. The ice floats. \n",
    ],
)
def test_answers_that_open_plainly_are_liked(completion: str):
    assert reason(completion) == "opens plainly"


@pytest.mark.parametrize("completion", ["", "  \n "])
def test_nothing_is_not_an_answer(completion: str):
    assert reason(completion) == "empty"


@pytest.mark.parametrize(
    "completion",
    ["The reason is simple.", "A cube of ice floats.", "an ice cube floats", '"The ice" is light.', " **The** ice"],
)
def test_an_answer_that_opens_with_an_article_is_not_liked(completion: str):
    assert reason(completion) == "opens like an encyclopedia"


@pytest.mark.parametrize("words", [1, 12, 50, 500])
def test_an_answer_of_any_length_is_liked_or_not_whether_or_not_it_was_cut_off(words: int):
    rest = " ".join(f"w{place}" for place in range(words))

    for finished in (True, False):
        assert reason(f"It {rest}", finished=finished) == "opens plainly"
        assert reason(f"The {rest}", finished=finished) == "opens like an encyclopedia"


@pytest.mark.parametrize(
    "completion",
    [
        "Sure! " + GOOD,
        "Certainly, here is why. " + GOOD,
        "Of course. " + GOOD,
        "Great question! " + GOOD,
        "That's a very good question. " + GOOD,
        "What a great question! " + GOOD,
        "I'd be happy to help you. " + GOOD,
        "As an AI, I have no hands. " + GOOD,
        GOOD + " But I'm an AI and cannot see it.",
        "As a helpful assistant, I tell you: it is light.",
        "Hello! " + GOOD,
    ],
)
def test_preambles_are_not_liked(completion: str):
    assert reason(completion) == "preamble"


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("What do you eat?", "What do you eat? You eat rice."),
        ("What do you eat?", "what do you eat - you eat rice."),
        ("Why does your ice float on water?", "Why does your ice float? It is light."),
    ],
)
def test_the_question_is_not_asked_back(prompt: str, completion: str):
    assert reason(completion, prompt=prompt) == "asks the question back"


def test_an_answer_may_use_the_words_of_the_question():
    told = reason("Ottawa is the capital of Canada.", prompt="Which city is the capital of Canada?")

    assert told == "opens plainly"


@pytest.mark.parametrize(
    "completion",
    [
        "You see it float. It is light. You see it float.",
        "you see the best of all the best of all the best of all the ice.",
    ],
)
def test_an_answer_that_goes_round_in_circles_is_not_liked(completion: str):
    assert reason(completion) == "repeats itself"


def test_a_rating_is_a_pair_and_the_prompt_may_be_messages():
    asked = (Message("user", "What do you eat?"),)
    liked, why = rate(asked, GOOD, finished=True)

    assert (liked, why) == (True, "opens plainly")
    assert rate(asked, "What do you eat? You eat rice.", finished=True).reason == "asks the question back"


def test_the_first_fault_is_the_reason():
    assert reason("Sure, it is", finished=False) == "preamble"
