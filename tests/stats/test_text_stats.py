"""Statistics of answers, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.records import Completion
from haloes.stats.text_stats import distinct_n, finished_rate, ngrams, repetition_rate, words


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


def test_the_finished_rate_counts_answers_that_ended_by_themselves():
    assert finished_rate([completion(finished=True), completion(finished=False)]) == 0.5
    assert finished_rate([]) is None
