"""The demo's rater, on answers as a small model writes them."""

import pytest

from haloes.recipes.demo.rule import MAX_WORDS, rate
from haloes.records import Message

PROMPT = "Why does ice float on water?"
GOOD = "Ice floats because it is less dense than water."


def reason(completion: str, *, prompt: str = PROMPT, finished: bool = True) -> str:
    rating = rate(prompt, completion, finished)
    assert rating.liked == (rating.reason == "direct, complete and short")
    return rating.reason


@pytest.mark.parametrize(
    "completion",
    [
        GOOD,
        "Because it is lighter than water!",
        'It means "good trip".',
        "*Bon voyage* means (roughly) have a good trip.)",
        "1. Rinse it.\n2. Dry it.",
        "Assure your guests that dinner is ready.",
        "Surely not. Ice is light.",
        "Hikers should rest first.",
        "Would you sink? Ice does not.",
        "Yes. Yes. It does.",
        " Water expands when it freezes. \n",
    ],
)
def test_direct_complete_and_short_answers_are_liked(completion: str):
    assert reason(completion) == "direct, complete and short"


@pytest.mark.parametrize("completion", ["", "  \n "])
def test_nothing_is_not_an_answer(completion: str):
    assert reason(completion) == "empty"


def test_an_answer_that_was_cut_off_is_not_liked():
    assert reason(GOOD, finished=False) == "cut off"


def test_fifty_words_are_liked_and_one_more_is_not():
    words = [f"w{k}" for k in range(MAX_WORDS - 1)]

    assert reason(" ".join([*words, "end."])) == "direct, complete and short"
    assert reason(" ".join([*words, "the", "end."])) == "51 words"


@pytest.mark.parametrize(
    "completion",
    [
        "Sure! " + GOOD,
        "Certainly, here is why. " + GOOD,
        "Of course. " + GOOD,
        "Great question! " + GOOD,
        "That's a very good question. " + GOOD,
        "What a great question! " + GOOD,
        "I'd be happy to help. " + GOOD,
        "As an AI, I have no hands. " + GOOD,
        GOOD + " But I'm an AI and cannot see it.",
        "As a helpful assistant, I say: it is light.",
        "Hello! " + GOOD,
    ],
)
def test_preambles_are_not_liked(completion: str):
    assert reason(completion) == "preamble"


@pytest.mark.parametrize(
    "completion",
    [
        "Why does ice float on water? It is light.",
        "why does ice float on water - because it is.",
        "Why does ice float? It is.",
    ],
)
def test_the_question_is_not_asked_back(completion: str):
    assert reason(completion) == "asks the question back"


def test_an_answer_may_use_the_words_of_the_question():
    assert reason("The capital of Canada is Ottawa.", prompt="Which city is the capital of Canada?").startswith(
        "direct"
    )


@pytest.mark.parametrize(
    "completion",
    [
        "Ice floats because it is",
        "There are three reasons:",
        "1. It is light.\n2.",
        "It is light.\n-",
        "Best regards,\n[Your Name]",
    ],
)
def test_an_answer_that_breaks_off_is_not_liked(completion: str):
    assert reason(completion) == "does not end with a sentence"


@pytest.mark.parametrize(
    "completion",
    [
        "It is light. It floats well. It is light.",
        "the best of all the best of all the best of all the ice.",
    ],
)
def test_an_answer_that_goes_round_in_circles_is_not_liked(completion: str):
    assert reason(completion) == "repeats itself"


def test_a_rating_is_a_pair_and_the_prompt_may_be_messages():
    liked, why = rate((Message("user", PROMPT),), GOOD, finished=True)

    assert (liked, why) == (True, "direct, complete and short")
    assert rate((Message("user", PROMPT),), PROMPT + " It is light.", finished=True).reason == "asks the question back"


def test_the_first_fault_is_the_reason():
    assert reason("Sure, it is", finished=False) == "cut off"
