"""Times as exports write them (seconds, milliseconds, ISO 8601, ...) as one spelling: ISO 8601 in UTC."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,9})?")
_UNITS = (1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0)
"""From which number on a time counts nanoseconds, microseconds, milliseconds, or else seconds since 1970, and how many
of them are a second. Seconds reach 1e11 in the year 5138, and milliseconds were there in 1973."""


def seconds_of(value: object) -> float | None:
    """
    Return a time as seconds since 1970 in UTC; None for what is no time.

    Numbers, and texts that spell one, are seconds, milliseconds, microseconds or nanoseconds by their size. Other texts
    are ISO 8601 (a blank for the T will do); without a zone they are taken as UTC. MongoDB's {"$date": ...} is read.
    """
    if isinstance(value, Mapping):
        value = value.get("$date", value.get("$numberLong"))
        return seconds_of(value) if not isinstance(value, Mapping) or "$numberLong" in value else None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, str):
        value = _parsed(value.strip())
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return _scaled(value)


def iso_time(value: object) -> str | None:
    """Return a time (see `seconds_of`) as ISO 8601 in UTC, to the millisecond; None for what is no time."""
    seconds = seconds_of(value)
    if seconds is None:
        return None
    try:
        time = datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None
    spec = "milliseconds" if time.microsecond >= 1000 else "seconds"  # noqa: PLR2004  # less is no millisecond
    return time.isoformat(timespec=spec).replace("+00:00", "Z")


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return None


def _scaled(value: object) -> float | None:
    """Return a number of seconds or of parts of them as seconds; None for what is no time since 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number) or number <= 0:
        return None
    return number / next(unit for least, unit in _UNITS if number >= least)
