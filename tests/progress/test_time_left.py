"""The time left of a stage: an average so far, on a clock of the test's own."""

import pytest

from haloes.progress.time_left import Pace, about, clock_time


def test_what_is_left_takes_as_long_a_unit_as_what_was_done():
    pace = Pace(100.0)
    pace.report(1, now=110.0)
    pace.report(4, now=140.0)

    assert pace.left(10, now=140.0) == 60.0


def test_nothing_is_estimated_before_something_is_done():
    assert Pace(0.0).left(10, now=30.0) is None


def test_the_estimate_falls_with_the_clock_between_two_reports_and_never_below_zero():
    pace = Pace(0.0)
    pace.report(5, now=50.0)

    assert pace.left(10, now=70.0) == 30.0
    assert pace.left(10, now=500.0) == 0.0


def test_what_was_there_before_does_not_make_the_work_look_faster():
    pace = Pace(0.0)
    pace.report(90, now=0.01)
    assert pace.left(100, now=0.02) is None

    pace.report(92, now=20.01)
    assert pace.left(100, now=20.01) == pytest.approx(80.0)


def test_the_time_of_other_work_in_between_is_left_out():
    pace = Pace(0.0)
    pace.report(2, now=20.0)
    pace.skip(1000.0)
    pace.report(3, now=1030.0)

    assert pace.left(5, now=1030.0) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("seconds", "clock", "words"),
    [(7.4, "0:07", "7 s"), (59.6, "0:59", "1 min"), (725, "12:05", "12 min"), (3599, "59:59", "1 h 00 min"),
     (7500, "2:05:00", "2 h 05 min")],
)  # fmt: skip
def test_a_time_is_told_as_a_clock_shows_it_and_in_round_words(seconds: float, clock: str, words: str):
    assert clock_time(seconds) == clock
    assert about(seconds) == words
