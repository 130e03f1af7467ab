"""
Kinds of answers, by what is seen of them without reading them, and shares of a kind with intervals over people.

A name stands for a kind; None for an answer of which it is not known.

Shapes: N answers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.raters.votes import UNKNOWN
from haloes.results import Score
from haloes.stats.rates import share_with_interval

Int64s: TypeAlias = NDArray[np.int64]

MOST_MODELS = 8
"""Models that are told apart; those with the fewest votes are taken together."""
_MOST_TIMES = 8
_PARTS_OF_LENGTH = 4
_HOURS = 6
_OTHERS = "all others"
_NUMBERS = ((1, "1st answer"), (2, "2nd answer"), (3, "3rd and 4th"), (5, "5th to 8th"), (9, "9th and later"))
"""The first of the answers of a conversation that a name is of, and the name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Answers of one kind."""

    by: str
    """What the kinds differ in."""
    name: str
    own_N: NDArray[np.bool_]
    """Which answers are of it."""


def kinds(names: Mapping[str, Sequence[str | None]]) -> Iterator[Kind]:
    """
    Yield the kinds of answers in the order in which they are shown.

    Args:
        names: What kinds differ in ("model", "length" or others) -> the name of each answer's kind.
    """
    for by, name_N in names.items():
        counted = Counter(name for name in name_N if name is not None)
        # One kind alone is all votes, of which is told anyway; of one model its name is news.
        if len(counted) < (1 if by == "model" else 2):
            continue
        ordered = sorted(counted)
        if by == "length":
            ordered = sorted(counted, key=lambda name: int(name.split()[0]))
        elif by == "model":
            ordered = sorted(counted, key=lambda name: (name == _OTHERS, -counted[name], name))
        name_array = np.array(name_N, dtype=object)
        for name in ordered:
            yield Kind(by, name, name_array == name)


def share_by_people(true_N: NDArray[np.bool_], person_N: Int64s, name: str, label: str) -> Score | None:
    """Return the share of answers of which something is true, with its interval; None where all are one person's."""
    if not len(true_N):
        return None
    return by_people(share_with_interval(true_N, person_N.tolist(), name=name, variant="feedback", label=label))


def by_people(score: Score | None) -> Score | None:
    """Return a score whose clusters are people with a method that says so."""
    return (
        None if score is None else replace(score, variant="feedback", method=score.method.replace("prompts", "people"))
    )


def model_names(model_N: Int64s, names: Sequence[str]) -> list[str | None]:
    """Name the model of each answer; those with few answers are taken together."""
    counted = Counter(model_N[model_N != UNKNOWN].tolist())
    shown = {number for number, _ in sorted(counted.items(), key=lambda one: (-one[1], names[one[0]]))[:MOST_MODELS]}
    return [None if m == UNKNOWN else names[m] if m in shown else _OTHERS for m in model_N.tolist()]


def length_names(length_N: Int64s, unit: str) -> list[str | None]:
    """Name the quarter of the answers, by length in this unit, that each lies in; equal lengths lie in one."""
    if not len(length_N):
        return []
    cuts = np.unique(np.quantile(length_N, np.arange(1, _PARTS_OF_LENGTH) / _PARTS_OF_LENGTH, method="inverted_cdf"))
    part_N = np.searchsorted(cuts, length_N, side="left")
    named = {part: _lengths(length_N[part_N == part], unit) for part in np.unique(part_N).tolist()}
    return [named[part] for part in part_N.tolist()]


def _lengths(length_M: Int64s, unit: str) -> str:
    low, high = int(length_M.min()), int(length_M.max())
    return f"{low} {unit}{'' if low == 1 else 's'}" if low == high else f"{low} to {high} {unit}s"


def number_names(number_N: Int64s) -> list[str | None]:
    """Name the place of each answer in its conversation."""
    firsts = np.array([first for first, _ in _NUMBERS])
    place_N = np.searchsorted(firsts, number_N, side="right") - 1
    return [None if place < 0 else _NUMBERS[place][1] for place in place_N.tolist()]


def hour_names(seconds_N: Int64s) -> list[str | None]:
    """Name the quarter of the day that each time lies in."""

    def name(seconds: int) -> str | None:
        if seconds == UNKNOWN:
            return None
        first = seconds // 3600 % 24 // _HOURS * _HOURS
        return f"{first:02} to {first + _HOURS:02} h UTC"

    return list(map(name, seconds_N.tolist()))


def time_names(seconds_N: Int64s) -> list[str | None]:
    """Name the week of each vote, or the month, quarter or year where that would be too many."""
    days = {s: _day(s) for s in np.unique(seconds_N).tolist() if s != UNKNOWN}
    spans: tuple[Callable[[datetime], str], ...] = (
        lambda day: f"{day.isocalendar().year} week {day.isocalendar().week:02}",
        lambda day: f"{day:%Y-%m}",
        lambda day: f"{day.year} quarter {(day.month + 2) // 3}",
        lambda day: f"{day.year}",
    )
    named: dict[int, str] = {}
    for span in spans:
        named = {s: span(day) for s, day in days.items() if day is not None}
        if len(set(named.values())) <= _MOST_TIMES:
            break
    return [named.get(s) for s in seconds_N.tolist()]


def _day(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None
