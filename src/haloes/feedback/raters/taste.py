"""
Whose taste a set of feedback holds: how votes spread over people, and what an up vote goes with.

Intervals count people as the independent units, as one person's votes hang together; a vote that names nobody counts
with the other such votes on its prompt.

Shapes: N verdicts, M thumbs, U people, A answers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.raters.votes import UNKNOWN, Votes
from haloes.results import Score, Taste, VotesOf
from haloes.stats.auc_by_length import auc_of_length
from haloes.stats.rates import share_with_interval

Int64s: TypeAlias = NDArray[np.int64]

MOST_MODELS = 8
"""Models that are told apart; those with the fewest votes are taken together."""
_MOST_TIMES = 8
_PARTS_OF_LENGTH = 4
_HOURS = 6
_OTHERS = "all others"


def taste(votes: Votes) -> Taste | None:
    """Return whose verdicts these are; None without any."""
    if not len(votes):
        return None
    label_N, person_N = _int64(votes.label), _int64(votes.person)
    is_thumb_N = label_N != UNKNOWN
    up_M = label_N[is_thumb_N] == 1
    unit_M = _units(person_N, _int64(votes.prompt))[is_thumb_N]
    num_U = np.sort(np.bincount(person_N[person_N != UNKNOWN], minlength=0))[::-1]
    share_U = num_U / max(int(num_U.sum()), 1)
    answer_N = _int64(votes.answer)
    again, changed = _same_person(answer_N[is_thumb_N], person_N[is_thumb_N], up_M)
    shared, agreed = _several_people(answer_N[is_thumb_N], person_N[is_thumb_N], up_M)
    length_M = _int64(votes.characters)[is_thumb_N]
    return Taste(
        num_votes=len(votes),
        num_unnamed=int((person_N == UNKNOWN).sum()),
        num_people=len(num_U),
        num_even=float(1 / (share_U @ share_U)) if len(num_U) else 0.0,
        num_for_half=int(np.searchsorted(np.cumsum(share_U), 0.5 - 1e-12) + 1) if len(num_U) else 0,
        largest_share=float(share_U[0]) if len(num_U) else 0.0,
        up=_share(up_M, unit_M, "up", "thumbs that are up"),
        kinds=tuple(_kinds(votes, is_thumb_N, up_M, unit_M)),
        length=_by_people(auc_of_length(length_M, up_M, unit_M.tolist())) if len(up_M) else None,
        num_again=again,
        num_changed=changed,
        num_shared=shared,
        agreed=agreed,
    )


def _kinds(votes: Votes, is_thumb_N: NDArray[np.bool_], up_M: NDArray[np.bool_], unit_M: Int64s) -> Iterator[VotesOf]:
    columns: tuple[tuple[str, list[str | None], bool], ...] = (
        ("model", _model_names(_int64(votes.model)[is_thumb_N], list(votes.models)), True),
        ("length", _length_names(_int64(votes.words)[is_thumb_N]), False),
        ("hour", _hour_names(_int64(votes.seconds)[is_thumb_N]), False),
        ("time", _time_names(_int64(votes.seconds)[is_thumb_N]), False),
    )
    for by, name_M, largest_first in columns:
        counted = Counter(name for name in name_M if name is not None)
        # One kind alone is all votes, of which is told anyway; of one model its name is news.
        if len(counted) < (1 if by == "model" else 2):
            continue
        names = [name for name, _ in counted.most_common()] if largest_first else list(dict.fromkeys(sorted(counted)))
        if by == "length":
            names = sorted(counted, key=lambda name: int(name.split()[0]))
        elif largest_first:
            names = sorted(names, key=lambda name: (name == _OTHERS, -counted[name], name))
        name_array = np.array(name_M, dtype=object)
        for name in names:
            own_M = name_array == name
            yield VotesOf(
                by=by,
                name=name,
                num_votes=counted[name],
                share_up=float(up_M[own_M].mean()),
                up=_share(up_M[own_M], unit_M[own_M], "up", f"thumbs that are up, {name}"),
            )


def _model_names(model_M: Int64s, names: Sequence[str]) -> list[str | None]:
    counted = Counter(model_M[model_M != UNKNOWN].tolist())
    shown = {number for number, _ in sorted(counted.items(), key=lambda one: (-one[1], names[one[0]]))[:MOST_MODELS]}
    return [None if m == UNKNOWN else names[m] if m in shown else _OTHERS for m in model_M.tolist()]


def _length_names(words_M: Int64s) -> list[str | None]:
    """Name the quarter of the answers, by words, that each lies in; equal lengths lie in one."""
    if not len(words_M):
        return []
    cuts = np.unique(np.quantile(words_M, np.arange(1, _PARTS_OF_LENGTH) / _PARTS_OF_LENGTH, method="inverted_cdf"))
    part_M = np.searchsorted(cuts, words_M, side="left")
    named = {part: _words(words_M[part_M == part]) for part in np.unique(part_M).tolist()}
    return [named[part] for part in part_M.tolist()]


def _words(words_M: Int64s) -> str:
    low, high = int(words_M.min()), int(words_M.max())
    return f"{low} word{'' if low == 1 else 's'}" if low == high else f"{low} to {high} words"


def _hour_names(seconds_M: Int64s) -> list[str | None]:
    def name(seconds: int) -> str | None:
        if seconds == UNKNOWN:
            return None
        first = seconds // 3600 % 24 // _HOURS * _HOURS
        return f"{first:02} to {first + _HOURS:02} h UTC"

    return list(map(name, seconds_M.tolist()))


def _time_names(seconds_M: Int64s) -> list[str | None]:
    """Name the week of each vote, or the month, quarter or year where that would be too many."""
    days = {s: _day(s) for s in np.unique(seconds_M).tolist() if s != UNKNOWN}
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
    return [named.get(s) for s in seconds_M.tolist()]


def _day(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _same_person(answer_M: Int64s, person_M: Int64s, up_M: NDArray[np.bool_]) -> tuple[int, int]:
    """Count the answers on which one (named) person voted more than once, and those voted on both ways."""
    named_M = person_M != UNKNOWN
    pairs = np.stack([answer_M[named_M], person_M[named_M]], axis=1)
    if not len(pairs):
        return 0, 0
    _, code, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    ups = np.bincount(code.reshape(-1), weights=up_M[named_M])
    return int((count > 1).sum()), int(((ups > 0) & (ups < count)).sum())


def _several_people(answer_M: Int64s, person_M: Int64s, up_M: NDArray[np.bool_]) -> tuple[int, Score | None]:
    """Count the answers on which several named people voted, and the share on which all of them agree."""
    named_M = person_M != UNKNOWN
    answer_A, code = np.unique(answer_M[named_M], return_inverse=True)
    if not len(answer_A):
        return 0, None
    pairs = np.unique(np.stack([code, person_M[named_M]], axis=1), axis=0)
    people_A = np.bincount(pairs[:, 0], minlength=len(answer_A))
    ups, votes = np.bincount(code, weights=up_M[named_M]), np.bincount(code)
    is_shared_A = people_A > 1
    agree_A = ((ups == 0) | (ups == votes))[is_shared_A]
    score = share_with_interval(
        agree_A, np.flatnonzero(is_shared_A).tolist(), name="agreed", variant="feedback", label="all agree"
    )
    return int(is_shared_A.sum()), None if score is None else replace(
        score, method=score.method.replace("prompts", "answers")
    )


def _share(up_M: NDArray[np.bool_], unit_M: Int64s, name: str, label: str) -> Score | None:
    return _by_people(
        share_with_interval(up_M, unit_M.tolist(), name=name, variant="feedback", label=label) if len(up_M) else None
    )


def _by_people(score: Score | None) -> Score | None:
    """Return a score whose clusters are people with a method that says so."""
    return (
        None if score is None else replace(score, variant="feedback", method=score.method.replace("prompts", "people"))
    )


def _units(person_N: Int64s, prompt_N: Int64s) -> Int64s:
    """Return what makes votes hang together: the person, or the prompt where nobody is named."""
    _, prompt_code = np.unique(prompt_N, return_inverse=True)
    return np.where(person_N != UNKNOWN, person_N, -2 - prompt_code)


def _int64(column: "Sequence[int]") -> Int64s:
    return np.array(column, dtype=np.int64)
