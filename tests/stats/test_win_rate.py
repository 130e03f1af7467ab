"""Win rates: ties, unscored answers, orders and seeds, and what swapping the models does."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, sem

from haloes.errors import DataError
from haloes.stats.win_rate import both_orders, win_rate, win_rate_difference

preferences = st.lists(
    st.tuples(st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]), st.integers(0, 12)), min_size=1, max_size=60
)


def test_ties_count_half_and_unscored_answers_are_left_out_and_counted():
    rate = win_rate([1.0, 1.0, 0.5, 0.0, None, None], list("abcdef"))
    assert rate.score.value == 2.5 / 4
    assert (rate.wins, rate.ties, rate.losses, rate.unscored) == (2, 1, 1, 2)
    assert (rate.score.num_rows, rate.score.num_clusters) == (4, 4)


def test_the_standard_error_is_the_sample_deviation_by_the_root_of_n():
    value = np.random.default_rng(0).random(50)
    assert win_rate(value.tolist(), list(range(50))).standard_error == pytest.approx(sem(value))


def test_seeds_belong_to_their_prompt():
    # Prompt means 1, 0.5, 0: deviation 0.5 by root 3; twice as many rows of the same say nothing more.
    once = win_rate([1.0, 1.0, 0.0, 0.0], ["a", "b", "b", "c"])
    assert once.score.value == 0.5
    assert once.standard_error == pytest.approx(0.5 / math.sqrt(3))
    twice = win_rate([1.0, 1.0, 0.0, 0.0] * 2, ["a", "b", "b", "c"] * 2)
    assert (twice.score.low, twice.score.high) == (once.score.low, once.score.high)


def test_the_sign_test_counts_prompts():
    preferences = [1.0] * 9 + [0.0] + [0.5] * 3
    test = win_rate(preferences, list(range(13))).sign_test
    assert (test.up, test.down, test.same) == (9, 1, 3)
    assert test.p_value == pytest.approx(binomtest(9, 10).pvalue)


def test_a_judge_that_always_says_first_gives_exactly_one_half():
    rate = win_rate(both_orders([1.0] * 40, [0.0] * 40), list(range(40)))
    assert rate.score.value == 0.5
    assert rate.ties == 40
    assert rate.sign_test.p_value == 1
    assert rate.score.low < 0.5 < rate.score.high


def test_both_orders_are_averaged_and_half_a_pair_is_unscored():
    assert both_orders([1.0, 1.0, 0.5, None, 1.0], [1.0, 0.0, 0.0, 1.0, None]) == [1.0, 0.5, 0.25, None, None]
    with pytest.raises(DataError, match="must pair up"):
        both_orders([1.0], [])


@given(preferences)
def test_swapping_the_models_mirrors_everything(rows: list[tuple[float | None, int]]):
    values, prompts = [value for value, _ in rows], [prompt for _, prompt in rows]
    rate = win_rate(values, prompts, draws=40)
    other = win_rate([None if value is None else 1 - value for value in values], prompts, draws=40)
    assert (other.wins, other.ties, other.losses) == (rate.losses, rate.ties, rate.wins)
    assert other.unscored == rate.unscored
    if rate.score is None:
        assert other.score is None
        assert rate.standard_error is None
    else:
        assert (other.score.low, other.score.high) == pytest.approx((1 - rate.score.high, 1 - rate.score.low))
        assert other.standard_error == pytest.approx(rate.standard_error)
        assert other.sign_test.p_value == pytest.approx(rate.sign_test.p_value)


def test_nothing_scored_has_counts_and_no_score():
    rate = win_rate([None, None], ["a", "b"])
    assert (rate.score, rate.standard_error, rate.unscored) == (None, None, 2)


def test_preferences_must_be_in_the_unit_interval_and_have_a_prompt_each():
    with pytest.raises(DataError, match=r"win_rate: value 2\.0 of row 1"):
        win_rate([0.0, 2.0], ["a", "b"])
    with pytest.raises(DataError, match="1 prompts for 2 preferences"):
        win_rate([0.0, 1.0], ["a"])


def test_the_difference_is_paired_by_prompt():
    # Hard prompts are hard for both; after wins 20 more of 100, and nothing else changes.
    prompts = list(range(100))
    before = [1.0] * 40 + [0.0] * 60
    after = [1.0] * 60 + [0.0] * 40
    score = win_rate_difference(before, prompts, after[::-1], prompts[::-1], draws=4000)
    assert score.value == pytest.approx(0.2)
    half = 1.96 * math.sqrt(0.2 * 0.8 / 100)
    assert (score.low, score.high) == pytest.approx((0.2 - half, 0.2 + half), abs=0.02)
    assert score.variant == "difference"
    assert score.method.startswith("paired expanded percentile bootstrap over 100 prompts")


def test_a_prompt_scored_on_one_side_only_is_left_out_of_the_difference():
    score = win_rate_difference([0.0, 0.0, None], list("abc"), [1.0, 0.5, 1.0], list("abc"))
    assert score.value == pytest.approx(0.75)
    assert score.num_clusters == 2
    assert "1 prompts not scored on both sides" in score.method


def test_no_change_at_all_is_still_uncertain():
    prompts = list(range(60))
    score = win_rate_difference([1.0, 0.0] * 30, prompts, [1.0, 0.0] * 30, prompts)
    assert score.value == pytest.approx(0)
    assert -0.07 < score.low < 0 < score.high < 0.07


def test_differences_of_other_prompts_are_refused():
    with pytest.raises(DataError, match="on one side only"):
        win_rate_difference([1.0], ["a"], [1.0], ["b"])
