"""How long the rest of a piece of work will take, from how it went so far."""

from dataclasses import dataclass, field

_AT_ONCE = 1.0
"""Seconds at the beginning whose units do not count: what was there before, in a file gone on with, comes then."""


@dataclass(slots=True)
class Pace:
    """
    Estimates the time left: each unit that is left takes as long as one took on average until now.

    What is reported in the first second does not count. Between two reports the estimate falls with the clock.
    """

    began: float
    """The time of the beginning, in seconds of any clock."""
    _first: tuple[float, float] = field(init=False)
    """Time and units from which on the average is taken."""
    _last: tuple[float, float] = field(init=False)
    """Time and units of the newest report."""

    def __post_init__(self) -> None:
        self._first = self._last = (self.began, 0.0)

    def report(self, done: float, *, now: float) -> None:
        """Take note that so many units are done."""
        self._last = (now, done)
        if now - self.began < _AT_ONCE:
            self._first = self._last

    def skip(self, seconds: float) -> None:
        """Leave out a time in which other work was done."""
        self.began += seconds
        self._first = (self._first[0] + seconds, self._first[1])
        self._last = (self._last[0] + seconds, self._last[1])

    def left(self, total: float, *, now: float) -> float | None:
        """Return the seconds left until `total` units are done; None where nothing is known yet."""
        (since, before), (until, done) = self._first, self._last
        if done <= before:
            return None
        return max(0.0, (total - done) * (until - since) / (done - before) - (now - until))


def clock_time(seconds: float) -> str:
    """Return a time as a clock shows it: 0:07, 12:05, 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"  # noqa: PLR2004


def about(seconds: float) -> str:
    """Return a time in round words: 8 s, 12 min, 2 h 05 min."""
    if round(seconds) < 60:  # noqa: PLR2004 - a minute
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
