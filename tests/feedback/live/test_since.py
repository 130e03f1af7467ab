"""How far back an import goes."""

from datetime import UTC, datetime

import pytest

from haloes.errors import ConfigError
from haloes.feedback.live.since import read_since

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("12h", datetime(2026, 11, 29, tzinfo=UTC)),
        ("30d", datetime(2026, 10, 30, 12, tzinfo=UTC)),
        ("2w", datetime(2026, 11, 15, 12, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T06:00:00+02:00", datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ("9999w", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_before_now_or_a_date(text: str, time: datetime):
    assert read_since(text, now=NOW) == time


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "1.5d", "3y", "yesterday", "2027-01-01", "2026-13-01", "30 d"])
def test_anything_else_is_refused(text: str):
    with pytest.raises(ConfigError, match="give hours, days or weeks"):
        read_since(text, now=NOW)
