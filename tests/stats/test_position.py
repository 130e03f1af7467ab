"""Position bias and flips of judges whose ways are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.stats.position import flip_rate, position_bias

NUM = 60
PROMPTS = list(range(NUM))


def test_a_judge_that_always_says_first_has_full_bias_and_flips_always():
    bias, flips = position_bias([1.0] * NUM, [0.0] * NUM, PROMPTS), flip_rate([1.0] * NUM, [0.0] * NUM, PROMPTS)
    assert (bias.value, bias.high) == (1, 1)
    assert 0.9 < bias.low < 1
    assert flips.value == 1
    assert (bias.name, flips.name) == ("position_bias", "flip_rate")


def test_a_judge_that_always_says_second_has_none_of_it():
    assert position_bias([0.0] * NUM, [1.0] * NUM, PROMPTS).value == 0


def test_a_judge_that_knows_its_mind_is_fair_whoever_is_better():
    better = [1.0] * 50 + [0.0] * 10
    assert position_bias(better, better, PROMPTS).value == 0.5
    assert flip_rate(better, better, PROMPTS).value == 0


def test_by_hand():
    # Verdicts for the first place: 1 and 1, 1 and 0, 0 and 0 (second twice), tie and 1.
    shown_first, shown_second = [1.0, 1.0, 0.0, 0.5], [0.0, 1.0, 1.0, 0.0]
    assert position_bias(shown_first, shown_second, list("abcd")).value == (2 + 1 + 0 + 1.5) / 8
    # The first and the third pair flip; a tie and a winner do not.
    assert flip_rate(shown_first, shown_second, list("abcd")).value == 0.5


def test_pairs_scored_once_are_left_out():
    bias = position_bias([1.0, 1.0, None, 1.0], [0.0, None, 0.0, 1.0], list("abcd"))
    assert bias.value == 0.75
    assert bias.num_clusters == 2
    assert flip_rate([None, 1.0], [1.0, None], list("ab")) is None


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.2, 0.5, 1.0])] * 2), min_size=2, max_size=30))
def test_naming_the_other_model_the_candidate_changes_nothing(pairs: list[tuple[float, float]]):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    prompts = list(range(len(pairs)))
    # The other model stands second where this one stands first.
    other_first, other_second = [1 - b for b in second], [1 - a for a in first]
    here, there = (
        position_bias(first, second, prompts, draws=20),
        position_bias(other_first, other_second, prompts, draws=20),
    )
    assert (there.value, there.low, there.high) == pytest.approx((here.value, here.low, here.high))
    assert flip_rate(other_first, other_second, prompts, draws=20) == flip_rate(first, second, prompts, draws=20)


def test_sides_must_pair_up_and_be_preferences():
    with pytest.raises(DataError, match="2 preferences in one order and 1 in the other for 2 prompts"):
        position_bias([1.0, 0.0], [1.0], ["a", "b"])
    with pytest.raises(DataError, match=r"flip_rate: value 3\.0 of row 1"):
        flip_rate([1.0, 0.0], [1.0, 3.0], ["a", "b"])
