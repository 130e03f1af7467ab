"""Means of any numbers: closed forms of their intervals, prompts, and skewed numbers."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.stats import ttest_1samp, ttest_rel

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.both_sides import BothSides
from haloes.stats.means import difference_with_interval, mean_with_interval


def mean(values: ArrayLike, keys: Sequence[Hashable], **settings: Any) -> Score | None:
    return mean_with_interval(values, keys, name="words", variant="after", **settings)


def difference(
    before: ArrayLike,
    before_keys: Sequence[Hashable],
    after: ArrayLike,
    after_keys: Sequence[Hashable],
    **settings: Any,
) -> Score | None:
    return difference_with_interval(BothSides(before, before_keys, after, after_keys), name="words", **settings)


def test_without_skewness_it_is_students_interval():
    value = [1.0, 2.0, 4.0, 6.0, 7.0]  # as far below 4 as above it
    oracle = ttest_1samp(value, 0).confidence_interval(0.95)
    score = mean(value, list("abcde"))
    assert (score.value, score.low, score.high) == pytest.approx((4.0, oracle.low, oracle.high))


def test_a_long_tail_moves_its_end_of_the_interval_and_not_the_other():
    value = [1.0, 1.1, 2.0, 2.1, 2.2, 3.0, 3.1, 4.0, 9.0, 20.0]
    oracle = ttest_1samp(value, 0).confidence_interval(0.95)
    score = mean(value, list(range(10)))
    assert score.low == pytest.approx(oracle.low)
    assert score.high > 1.2 * oracle.high
    mirrored = mean([-number for number in value], list(range(10)))
    assert (mirrored.low, mirrored.high) == pytest.approx((-score.high, -score.low))


def test_halls_formula_by_hand():
    # Mean 4; squares of 9, 4, 1 and 36 by 12 are the squared error; the cubes' mean is (-27 - 8 - 1 + 216) / 4 = 45.
    error, g = math.sqrt(50 / 12), 45 / 12.5**1.5 * (1 + 5 / 4) / 2
    t = 3.182446305284263  # Student's, 3 degrees of freedom
    score = mean([1.0, 2.0, 3.0, 10.0], list("abcd"))
    high = 4 - error * 3 / g * (np.cbrt(1 + g * (-t - g / 6)) - 1)
    assert (score.value, score.low, score.high) == pytest.approx((4.0, 4 - error * t, high))


def test_the_sum_of_rounded_numbers_may_be_off_by_two_steps_more():
    t = 3.182446305284263
    score = mean([0.0, 0.0, 1.0, 1.0], list("abcd"))  # the squared error is 1 / 12; two steps of four rows are 1 / 2
    half = t * math.sqrt(1 / 12 + 1 / 4)
    assert (score.low, score.high) == pytest.approx((0.5 - half, 0.5 + half))
    # Numbers of which no two are equal show no step, and of those that are hardly rounded it is small.
    oracle = ttest_1samp([0.0, 0.1, 0.9, 1.0], 0).confidence_interval(0.95)
    score = mean([0.0, 0.1, 0.9, 1.0], list("abcd"))
    assert (score.low, score.high) == pytest.approx((oracle.low, oracle.high))


def test_equal_numbers_have_no_interval_and_say_so():
    score = mean([7.0] * 12, list(range(12)))
    assert (score.value, score.low, score.high, score.no_interval) == (7, 7, 7, "no spread: all equal")
    assert mean([7.0] * 11 + [8.0], list(range(12))).no_interval == ""


def test_rows_of_one_prompt_that_are_the_same_are_one_row():
    one, thrice = (
        mean([1.0, 1.001, 4.0, 6.999, 7.0], list("abcde")),
        mean(np.repeat([1.0, 1.001, 4.0, 6.999, 7.0], 3), list("aaabbbcccdddeee")),
    )
    assert (thrice.low, thrice.high) == pytest.approx((one.low, one.high))
    assert (thrice.num_rows, thrice.num_clusters) == (15, 5)


def test_rows_of_one_prompt_that_have_nothing_in_common_count_each():
    rng = np.random.default_rng(0)
    value = rng.normal(size=4000)
    alone, together = mean(value, list(range(4000))), mean(value, (np.arange(4000) // 2).tolist())
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_with_many_rows_the_interval_is_the_normal_one():
    value = np.random.default_rng(0).normal(3, 2, size=2000)
    score = mean(value, list(range(2000)))
    half = 1.96 * value.std() / math.sqrt(2000)
    assert score.value == pytest.approx(value.mean())
    assert (score.low, score.high) == pytest.approx((value.mean() - half, value.mean() + half), abs=0.01 * half)


def test_no_interval_reaches_beyond_what_such_a_number_can_be():
    assert mean([0.0, 0.0, 1.0], list("abc")).low < 0
    assert mean([0.0, 0.0, 1.0], list("abc"), bounds=(0, math.inf)).low == 0
    assert mean([0.0, 1.0, 1.0], list("abc"), bounds=(0, 1)).high == 1


@pytest.mark.parametrize("num", [0, 1, 3])
def test_fewer_than_two_prompts_have_no_interval(num: int):
    assert mean([1.0] * num, ["a"] * num) is None
    assert difference([1.0] * num, ["a"] * num, [2.0] * num, ["a"] * num) is None


def test_the_difference_is_paired_so_hard_prompts_cancel_out():
    prompt = np.random.default_rng(1).normal(scale=50, size=80)
    score = difference(prompt, list(range(80)), prompt + 3, list(range(80)))
    assert (score.value, score.low, score.high) == pytest.approx((3, 3, 3))
    assert score.variant == "difference"
    assert score.num_clusters == 80


def test_pairing_goes_by_prompt_and_not_by_row():
    keys = list(range(30))
    before = np.arange(30.0)
    score = difference(before, keys, before[::-1] + 1, keys[::-1])
    assert (score.value, score.low, score.high) == pytest.approx((1, 1, 1))


def test_a_difference_of_paired_numbers_without_skewness_is_students():
    before, after = [3.0, 1.0, 5.0, 2.0, 8.0], [4.0, 3.0, 9.0, 8.0, 15.0]  # changes of 1, 2, 4, 6, 7
    oracle = ttest_rel(after, before).confidence_interval(0.95)
    score = difference(before, list("abcde"), after, list("abcde"))
    assert (score.low, score.high) == pytest.approx((oracle.low, oracle.high))


def test_the_sides_may_hold_different_numbers_of_rows():
    # Prompt a: 1 before, 2 and 4 after; prompt b: 3 before, 6 after. Means 2 and 4.
    score = difference([1.0, 3.0], ["a", "b"], [2.0, 4.0, 6.0], ["a", "a", "b"])
    assert (score.value, score.num_rows, score.num_clusters) == (pytest.approx(2), 5, 2)
    assert score.low < 2 < score.high
    # Three equal answers after for each one before are as good as one.
    one = difference([1.0, 3.0, 4.0], list("abc"), [2.0, 6.0, 9.0], list("abc"))
    thrice = difference([1.0, 3.0, 4.0], list("abc"), [2.0] * 3 + [6.0] * 3 + [9.0] * 3, list("aaabbbccc"))
    assert (thrice.low, thrice.high) == pytest.approx((one.low, one.high))


def test_where_the_sides_weigh_prompts_differently_what_is_hard_about_a_prompt_counts():
    # Nothing changes by the answer, but prompt a, which is easy, has most of the rows after.
    before, after = [9.0, 1.0, 2.0], [9.0] * 4 + [1.0, 2.0]
    score = difference(before, list("abc"), after, list("aaaabc"))
    assert score.value == pytest.approx(6.5 - 4)
    # Weights 1/3 before and 2/3, 1/6, 1/6 after: their differences' squares times the variance of 9, 1, 2, which is 19.
    half = 4.302652729749462 * math.sqrt((1 / 9 + 1 / 36 + 1 / 36) * 19)  # Student's t, 2 degrees of freedom
    assert score.low == pytest.approx(2.5 - half)
    assert score.high >= 2.5 + half - 1e-9


def test_a_prompt_on_one_side_only_is_refused():
    with pytest.raises(DataError, match=r"'c' is on one side only \(1 such"):
        difference([1.0, 2.0], ["a", "b"], [1.0, 2.0, 3.0], ["a", "b", "c"])


def test_rows_without_a_prompt_cannot_be_paired():
    with pytest.raises(DataError, match="prompt key is None"):
        difference([1.0, 2.0], ["a", None], [1.0, 2.0], ["a", None])


def test_values_must_be_finite_and_have_one_key_each():
    with pytest.raises(DataError, match="words: value inf of row 0"):
        mean([math.inf, 1.0], ["a", "b"])
    with pytest.raises(DataError, match="3 prompt keys for values of shape"):
        mean([0.0, 1.0], ["a", "b", "c"])


def test_few_prompts_and_one_with_half_of_the_rows_are_named_with_what_their_intervals_covered():
    def method(prompts: list[int]) -> str:
        score = mean_with_interval(np.arange(len(prompts)), prompts, name="words", variant="after")
        return score.method

    uneven = [0] * 20 + list(range(1, 21))
    assert "covered 88 to 100 % in simulations" in method(list(range(10)))
    assert "covered 88 to 100 % in simulations" in method(uneven)
    assert "covered" not in method(list(range(20)))


def test_where_one_prompt_has_half_of_the_rows_no_sample_gives_an_interval_of_thousands():
    prompts = np.repeat(np.arange(40), [78, *[2] * 39]).tolist()
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(200):
        score = mean(rng.normal(size=156), prompts)
        widths.append(score.high - score.low)
    # Of independent rows an interval is 0.3 wide; one in twenty of these was wider than 400.
    assert max(widths) < 3
    assert np.median(widths) < 0.6
