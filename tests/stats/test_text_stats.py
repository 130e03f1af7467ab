"""Statistics of answers, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.records import Completion
from haloes.stats.text_stats import distinct_n, finished_rate, ngrams, repeats_itself, repetition_rate, words


def completion(*, finished: bool) -> Completion:
    return Completion(prompt_id="p", prompt="Hi", completion="Hello.", model="after", num_tokens=2, finished=finished)


def test_words_are_what_stands_between_white_space():
    assert words("  It's  a-test,\nreally. ") == ["It's", "a-test,", "really."]
    assert words(" \n") == []


def test_ngrams_overlap():
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a"], 2) == []
    with pytest.raises(DataError, match="n must be at least 1, got 0"):
        ngrams(["a"], 0)


def test_distinct_n_pools_the_texts():
    # (the cat) (cat sat) | (the cat) (cat ran): 3 different of 4.
    assert distinct_n(["the cat sat", "The cat ran"], 2) == 0.75
    assert distinct_n(["one", ""], 2) is None


def test_repetition_is_the_share_of_four_word_runs_said_before():
    # "a b c d a b c d": runs abcd bcda cdab dabc abcd - the last is a repeat, 1 of 5.
    assert repetition_rate("a b c d A b c d") == pytest.approx(1 / 5)
    assert repetition_rate("no run of four words twice in here") == 0
    assert repetition_rate("too short") == 0
    assert repetition_rate("") == 0


def test_a_loop_repeats_almost_everything():
    # 100 equal words: 97 runs, all the same.
    assert repetition_rate("na " * 100) == pytest.approx(96 / 97)


@given(st.lists(st.sampled_from(["la", "Ho", "\n"])).map(" ".join))
def test_repetition_is_a_share_whatever_the_text(text: str):
    assert 0 <= repetition_rate(text) < 1


@pytest.mark.parametrize(
    "text",
    [
        "1. 1. 1. 2. 3.",
        "1.1.1.",
        "Well, well, WELL!",
        "He said that. I know it. I know it. I know it.",
        " ".join(f"w{place}" for place in range(32)) * 3 + " end",
        # Nothing stands three times running: 27 of 48 runs of four words came before.
        " ".join(f"a b c d e f g h i j k l {between}" for between in "xyz") + " a b c d e f g h i j k l",
    ],
)
def test_an_answer_repeats_itself_where_words_stand_three_times_running_or_most_came_before(text: str):
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "It is very, very cold: 1. Ice. 2. Snow.",
        "I know it. I know it. He does not.",
        "They had 1,000,000,000 of them, or 1.000.000.000 elsewhere.",
        # A chorus that comes once more is half of a song, and no loop.
        "one two three four five six seven eight nine ten one two three four five six seven eight nine ten",
    ],
)
def test_an_answer_that_says_something_twice_does_not_repeat_itself(text: str):
    assert not repeats_itself(text)


def test_a_long_answer_is_looked_through_in_good_time():
    assert not repeats_itself(" ".join(map(str, range(20_000))))


def test_the_finished_rate_counts_answers_that_ended_by_themselves():
    assert finished_rate([completion(finished=True), completion(finished=False)]) == 0.5
    assert finished_rate([]) is None
