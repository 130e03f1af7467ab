"""Times of exports in one spelling."""

from datetime import UTC, datetime

import pytest

from haloes.feedback.times import iso_time, seconds_of

MOMENT = "2025-11-29T07:10:00Z"


@pytest.mark.parametrize(
    "value",
    [
        1764400200,
        1764400200.0,
        1764400200_000,
        1764400200_000_000,
        1764400200_000_000_000,
        "1764400200",
        " 1764400200000 ",
        "2025-11-29T07:10:00Z",
        "2025-11-29 07:10:00",
        "2025-11-29 07:10:00+00:00",
        "2025-11-29T08:10:00+01:00",
        "2025-11-29T07:10:00.000000",
        "2025-11-29 07:10:00 UTC",
        datetime(2025, 11, 29, 7, 10, tzinfo=UTC),
        {"$date": "2025-11-29T07:10:00Z"},
        {"$date": {"$numberLong": "1764400200000"}},
    ],
    ids=repr,
)
def test_every_spelling_of_a_moment_is_the_same_moment(value: object):
    assert iso_time(value) == MOMENT
    assert seconds_of(value) == 1764400200


def test_milliseconds_stay():
    assert iso_time("2025-11-29 07:10:00.250") == iso_time(1764400200250) == "2025-11-29T07:10:00.250Z"


@pytest.mark.parametrize(
    "value",
    [None, "", "soon", 0, -5, True, float("nan"), float("inf"), 10**400, [], {}, {"$date": {"$date": 1}}, "9" * 30],
)
def test_what_is_no_time_is_none(value: object):
    assert iso_time(value) is None
