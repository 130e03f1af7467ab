"""How far back an import goes: a time before now, such as 30d, or a date."""

import re
from datetime import UTC, datetime, timedelta

from haloes.errors import ConfigError
from haloes.feedback.times import seconds_of

_BACK = re.compile(r"(\d{1,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def read_since(text: str, *, now: datetime) -> datetime:
    """
    Return the time that 12h, 30d, 8w, or a date such as 2026-11-01 (UTC) stands for.

    Raises:
        ConfigError: It is none of these, or lies ahead.
    """
    if (back := _BACK.fullmatch(text.strip())) is not None:
        return max(_BEGINNING, now - int(back[1]) * _UNITS[back[2]])
    seconds = seconds_of(text) if "-" in text else None
    if seconds is None or not 0 <= seconds <= now.timestamp():
        raise ConfigError(f"since: give hours, days or weeks (12h, 30d, 8w) or a date before now, got {text!r}")
    return datetime.fromtimestamp(seconds, tz=UTC)
