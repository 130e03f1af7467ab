"""
Whose taste a set of feedback holds: how votes spread over people, and what an up vote goes with.

Intervals count people as the independent units, as one person's votes hang together; a vote that names nobody counts
with the other such votes on its prompt.

Shapes: N verdicts, M thumbs, U people, A answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.raters.kinds import (
    by_people,
    hour_names,
    kinds,
    length_names,
    model_names,
    share_by_people,
    time_names,
)
from haloes.feedback.raters.votes import UNKNOWN, Votes
from haloes.results import Score, Taste, VotesOf
from haloes.stats.auc_by_length import auc_of_length
from haloes.stats.rates import share_with_interval

Int64s: TypeAlias = NDArray[np.int64]


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
        up=share_by_people(up_M, unit_M, "up", "thumbs that are up"),
        kinds=tuple(_kinds(votes, is_thumb_N, up_M, unit_M)),
        length=by_people(auc_of_length(length_M, up_M, unit_M.tolist())) if len(up_M) else None,
        num_again=again,
        num_changed=changed,
        num_shared=shared,
        agreed=agreed,
    )


def _kinds(votes: Votes, is_thumb_N: NDArray[np.bool_], up_M: NDArray[np.bool_], unit_M: Int64s) -> Iterator[VotesOf]:
    seconds_M = _int64(votes.seconds)[is_thumb_N]
    names = {
        "model": model_names(_int64(votes.model)[is_thumb_N], list(votes.models)),
        "length": length_names(_int64(votes.words)[is_thumb_N], "word"),
        "hour": hour_names(seconds_M),
        "time": time_names(seconds_M),
    }
    for kind in kinds(names):
        yield VotesOf(
            by=kind.by,
            name=kind.name,
            num_votes=int(kind.own_N.sum()),
            share_up=float(up_M[kind.own_N].mean()),
            up=share_by_people(up_M[kind.own_N], unit_M[kind.own_N], "up", f"thumbs that are up, {kind.name}"),
        )


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


def _units(person_N: Int64s, prompt_N: Int64s) -> Int64s:
    """Return what makes votes hang together: the person, or the prompt where nobody is named."""
    _, prompt_code = np.unique(prompt_N, return_inverse=True)
    return np.where(person_N != UNKNOWN, person_N, -2 - prompt_code)


def _int64(column: "Sequence[int]") -> Int64s:
    return np.array(column, dtype=np.int64)
