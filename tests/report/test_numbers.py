"""Numbers as people read them: no more digits than the uncertainty bears."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.report.numbers import (
    auc_of_length,
    brief,
    common_decimals,
    count,
    decimals_for,
    duration,
    is_finite,
    measure_of,
    percent,
    plain,
    show,
    signed,
    size,
)
from haloes.results import Score


def score(name: str, value: float, low: float, high: float, **rest: Any) -> Score:
    settings = {"variant": "after", "num_rows": 100, "num_clusters": 100, "method": "Wilson", **rest}
    return Score(name=name, value=value, low=low, high=high, **settings)


def test_a_share_is_written_in_percent() -> None:
    shown = show(score("liked", 0.583, 0.481, 0.668))
    assert (shown.value, shown.interval, shown.level) == ("58%", "48% to 67%", "95%")


def test_a_difference_of_shares_is_written_in_points_with_a_sign() -> None:
    shown = show(score("liked", -0.123, -0.25, 0.01, variant="difference"))
    assert (shown.value, shown.interval) == ("−12 points", "−25 to +1")


def test_a_plain_number_keeps_its_unit_in_differences() -> None:
    assert show(score("words", -55.6, -63.2, -48.4, variant="difference")).value == "−56 words"
    assert show(score("kl", 7.31, 6.42, 8.28)).value == "7.3"


def test_an_interval_without_width_is_named_and_not_repeated() -> None:
    shown = show(score("auc", 0.5, 0.5, 0.5))
    assert (shown.value, shown.interval, shown.with_level) == ("0.500", "no spread", "no spread")
    assert show(score("auc", 0.7, 0.6, 0.8)).with_level == "95% interval 0.60 to 0.80"


@pytest.mark.parametrize(
    ("half_width", "decimals"), [(17, 0), (9.6, 0), (4.2, 0), (2.1, 1), (0.9, 1), (0.045, 2), (0.025, 3), (0.0021, 4)]
)
def test_the_uncertainty_decides_the_decimals(half_width: float, decimals: int) -> None:
    assert decimals_for(half_width) == decimals


def test_scores_side_by_side_have_as_many_decimals_as_the_surest_needs() -> None:
    sides = [score("auc", 0.5, 0.5, 0.5), score("auc", 0.706, 0.661, 0.752)]
    assert common_decimals(sides) == 2
    assert common_decimals(sides[:1]) == 3
    assert common_decimals([score("liked", 0.5, 0.4, 0.6), score("liked", 0.992, 0.985, 0.996)]) == 1


def test_the_label_of_a_record_names_it_in_reports() -> None:
    assert measure_of(score("liked", 0, 0, 0, label="Short and direct")).title == "Short and direct"
    assert measure_of(score("liked", 0, 0, 0, label="Short and direct")).is_share
    assert measure_of(score("exact_match", 0, 0, 0)).title == "Exact match"


@pytest.mark.parametrize(
    ("value", "decimals", "text"), [(1234.5, 0, "1,234"), (-0.04, 1, "0.0"), (-3.25, 2, "−3.25"), (0, 0, "0")]
)
def test_plain_numbers(value: float, decimals: int, text: str) -> None:
    assert plain(value, decimals) == text


@pytest.mark.parametrize(("value", "text"), [(0.26, "+0.3"), (-0.26, "−0.3"), (0.04, "0.0"), (-0.04, "0.0")])
def test_a_sign_stands_only_where_something_is_left_of_it(value: float, text: str) -> None:
    assert signed(value, 1) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (5e-6, "5e-06"), (-5e-6, "−5e-06"), (0.43249, "0.432"), (31.0, "31"), (1207.4, "1,207"), (2.1, "2.1")],
)
def test_brief_numbers_have_three_digits(value: float, text: str) -> None:
    assert brief(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_number_can_be_written(value: float) -> None:
    assert brief(value)
    assert show(score("x", value, value, value)).value


@pytest.mark.parametrize(("share", "text"), [(0.316, "32%"), (0.004, "0.4%"), (0.996, "99.6%"), (0, "0%"), (1, "100%")])
def test_few_is_not_written_as_none_nor_most_as_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.13, "9.1 s"), (432.4, "7 min 12 s"), (3599.7, "1 h 00 min"), (3845, "1 h 04 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (14_848, "14.5 KiB"),  # 14.5 * 1024
        (2**20 - 1, "1.0 MiB"),
        (461_373_440, "440.0 MiB"),  # 440 * 1024^2
        (2.5 * 2**30, "2.50 GiB"),
        (3 * 2**50, "3,072.00 TiB"),
    ],
)
def test_sizes_have_the_unit_that_fits_them(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text


@pytest.mark.parametrize("value", [None, "3", True, math.nan, math.inf])
def test_what_is_not_a_number_is_not_counted(value: object) -> None:
    assert not is_finite(value)
    assert count(value) == "–"


@pytest.mark.parametrize(
    ("auc", "written"),
    [
        (0.099, "0.90 for the shorter one"),
        (0.75, "0.75 for the longer one"),
        (0.5, "0.50 for either one"),
        (0.4999, "0.50 for either one"),
    ],
)
def test_the_auc_of_length_is_told_for_the_length_that_it_speaks_for(auc: float, written: str) -> None:
    assert auc_of_length(auc) == written
