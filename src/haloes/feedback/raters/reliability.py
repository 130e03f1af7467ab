"""
How far each rater can be relied on, where several people voted on the same answers: Dawid and Skene's model.

Every answer is good or bad in truth, unknown to us; a rater calls a good one good with a chance of their own, and a bad
one bad with another (two coins a rater; Appl. Stat. 28, 1979, 20-28). Both are found by EM from who agrees with whom,
with priors that expect people to do better than chance, which also decides which of the two truths is called good. A
rater who votes up always says nothing, however often the others agree, and comes out at zero.

Shapes: M votes, A answers, R raters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.raters.votes import UNKNOWN, Votes
from haloes.records import Record, Refusal
from haloes.stats.bootstrap import Floats, normal_quantile

PRIOR_RIGHT, PRIOR_WRONG = 4.0, 2.0
"""The Beta prior of either coin: as if 4 of 6 earlier votes had been right, so that a few votes say little."""
_PRIOR_GOOD = 2.0
"""The Beta prior of the share of good answers, the same on both sides."""
FEWEST_SHARED = 20
"""Answers that several people voted on, below which nothing is estimated."""
LEAST_WEIGHT = 0.1
"""The reliability below which a rater's rows are not weighted further down."""
_CLOSE = 1e-9
_MOST_ROUNDS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rater:
    """One person's estimated reliability."""

    name: str
    num_votes: int
    """Votes on answers that others voted on too."""
    on_good: float
    """Chance of an up vote on a good answer."""
    on_bad: float
    """Chance of a down vote on a bad answer."""
    low: float
    """The 95% interval of `reliability`."""
    high: float

    @property
    def reliability(self) -> float:
        """Return Youden's J, `on_good + on_bad - 1`: 1 is always right, 0 says nothing, below 0 the wrong way round."""
        return self.on_good + self.on_bad - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Raters:
    """The people whose votes overlap, the one with the most votes first; or why nothing can be said."""

    num_shared: int
    """Answers that several named people voted on."""
    share_good: float = 0.0
    """Estimated share of good ones among them."""
    raters: tuple[Rater, ...] = ()
    too_little: str = ""
    """Why nothing can be said; empty where something can."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """What EM found."""

    good_A: Floats
    """The chance that each answer is good."""
    on_good_R: Floats
    on_bad_R: Floats
    share: float


def estimate_raters(votes: Votes) -> Raters:
    """Estimate how far each named person can be relied on; of a person's votes on one answer the last counts."""
    answer_M, person_M, up_M = _shared_votes(votes)
    names_A, answer_M = np.unique(answer_M, return_inverse=True)
    people_R, rater_M = np.unique(person_M, return_inverse=True)
    if reason := _too_little(answer_M, rater_M, num_answers=len(names_A), num_raters=len(people_R)):
        return Raters(num_shared=len(names_A), too_little=reason)
    fit = _em(answer_M, rater_M, up_M)
    on_good_R, on_bad_R = fit.on_good_R, fit.on_bad_R
    half_R = normal_quantile(0.975) * _standard_errors(fit, answer_M, rater_M, up_M)
    names, num_R = list(votes.people), np.bincount(rater_M)
    found = [
        Rater(
            name=names[int(person)],
            num_votes=int(num_R[r]),
            on_good=float(on_good_R[r]),
            on_bad=float(on_bad_R[r]),
            low=float(max(-1.0, on_good_R[r] + on_bad_R[r] - 1 - half_R[r])),
            high=float(min(1.0, on_good_R[r] + on_bad_R[r] - 1 + half_R[r])),
        )
        for r, person in enumerate(people_R.tolist())
    ]
    ordered = sorted(found, key=lambda rater: (-rater.num_votes, rater.name))
    return Raters(num_shared=len(names_A), share_good=fit.share, raters=tuple(ordered))


def rater_weights(found: Raters, votes: Votes) -> dict[str | None, float]:
    """
    Return the factor on the rows of each person, and under None that of everybody else, with a mean of 1 over all rows.

    It is the reliability, at least `LEAST_WEIGHT`; who shares no answer with others gets the mean of those who do.
    """
    known = {rater.name: max(LEAST_WEIGHT, rater.reliability) for rater in found.raters}
    num_R = np.bincount(np.array(votes.person, dtype=np.int64) + 1, minlength=len(votes.people) + 1)
    rows = {name: int(num_R[number + 1]) for name, number in votes.people.items() if name in known}
    mean = sum(known[name] * num for name, num in rows.items()) / sum(rows.values())
    return {**{name: weight / mean for name, weight in known.items()}, None: 1.0}


def weigh(rows: Iterable[Record], weights: dict[str | None, float]) -> Iterator[Record]:
    """Yield the rows, each person's with that person's factor on its weight."""
    for row in rows:
        if isinstance(row, Refusal):
            yield row
        else:
            yield replace(row, weight=row.weight * weights.get(row.user, weights[None]))


def _shared_votes(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return answers, people and votes of the thumbs on answers that several named people voted on, one each."""
    label, person, answer = (np.array(c, dtype=np.int64) for c in (votes.label, votes.person, votes.answer))
    counts = (label != UNKNOWN) & (person != UNKNOWN)
    label, person, answer = label[counts][::-1], person[counts][::-1], answer[counts][::-1]
    # The first in the reversed order is a person's last vote on an answer.
    order = np.lexsort((person, answer))
    label, person, answer = label[order], person[order], answer[order]
    is_last = np.ones(len(label), np.bool_)
    is_last[1:] = (person[1:] != person[:-1]) | (answer[1:] != answer[:-1])
    label, person, answer = label[is_last], person[is_last], answer[is_last]
    _, code, count = np.unique(answer, return_inverse=True, return_counts=True)
    shared = count[code] > 1
    return answer[shared], person[shared], label[shared] == 1


def _too_little(answer_M: NDArray[np.int64], rater_M: NDArray[np.int64], *, num_answers: int, num_raters: int) -> str:
    from scipy.sparse import coo_array

    if num_answers < FEWEST_SHARED:
        answers = f"{num_answers} answer{'' if num_answers == 1 else 's'}"
        return f"several people voted on {answers}, and {FEWEST_SHARED} is the least to go by"
    votes = coo_array((np.ones(len(answer_M)), (rater_M, answer_M)), shape=(num_raters, num_answers)).tocsr()
    together = votes @ votes.T
    together.setdiag(0)
    together.eliminate_zeros()
    together.data[:] = 1
    # Of two people who disagree nobody knows who is right, and a third who meets only one of them does not help.
    if (together @ together).multiply(together).nnz == 0:
        return "no three people voted on one another's answers, and of two who disagree nobody knows who is right"
    return ""


def _em(answer_M: NDArray[np.int64], rater_M: NDArray[np.int64], up_M: NDArray[np.bool_]) -> _Fit:
    """Find the most probable coins of each rater and share of good answers."""
    num_R = int(rater_M.max()) + 1
    # Begun where the votes stand: the truth that most call good is the good one.
    good_A = (np.bincount(answer_M, weights=up_M) + 0.5) / (np.bincount(answer_M) + 1)
    on_good_R = on_bad_R = np.zeros(num_R)
    share = 0.5
    for _ in range(_MOST_ROUNDS):
        before = np.concatenate([on_good_R, on_bad_R, [share]])
        q_M = good_A[answer_M]
        on_good_R = _mode(rater_M, q_M * up_M, q_M)
        on_bad_R = _mode(rater_M, (1 - q_M) * ~up_M, 1 - q_M)
        share = float((good_A.sum() + _PRIOR_GOOD - 1) / (len(good_A) + 2 * (_PRIOR_GOOD - 1)))
        on_good_M, on_bad_M = on_good_R[rater_M], on_bad_R[rater_M]
        evidence_M = np.where(up_M, np.log(on_good_M / (1 - on_bad_M)), np.log((1 - on_good_M) / on_bad_M))
        odds_A = np.log(share / (1 - share)) + np.bincount(answer_M, weights=evidence_M)
        good_A = 1 / (1 + np.exp(-np.clip(odds_A, -500, 500)))
        if np.abs(np.concatenate([on_good_R, on_bad_R, [share]]) - before).max() < _CLOSE:
            break
    return _Fit(good_A, on_good_R, on_bad_R, share)


def _mode(rater_M: NDArray[np.int64], right_M: Floats, all_M: Floats) -> Floats:
    """Return the most probable value of each rater's coin; with this prior it is never 0 or 1."""
    right_R, all_R = np.bincount(rater_M, weights=right_M), np.bincount(rater_M, weights=all_M)
    return np.asarray((right_R + PRIOR_RIGHT - 1) / (all_R + PRIOR_RIGHT + PRIOR_WRONG - 2), dtype=np.float64)


def _standard_errors(
    fit: _Fit, answer_M: NDArray[np.int64], rater_M: NDArray[np.int64], up_M: NDArray[np.bool_]
) -> Floats:
    """
    Return the standard error of each rater's reliability, with the truth of the answers as uncertain as it is.

    From the answers' scores, whose products add up to the information (Berndt, Hall, Hall and Hausman, 1974), and the
    prior's curvature; coins as log-odds, whose errors are nearer to normal, then the delta method.
    """
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import splu

    num_R, num_A = len(fit.on_good_R), len(fit.good_A)
    q_M = fit.good_A[answer_M]
    score_M = (q_M * (up_M - fit.on_good_R[rater_M]), (1 - q_M) * (~up_M - fit.on_bad_R[rater_M]))
    score = coo_array(
        (
            np.concatenate([*score_M, fit.good_A - fit.share]),
            (
                np.concatenate([answer_M, answer_M, np.arange(num_A)]),
                np.concatenate([rater_M, num_R + rater_M, np.full(num_A, 2 * num_R)]),
            ),
        ),
        shape=(num_A, 2 * num_R + 1),
    ).tocsc()
    slope = np.concatenate([fit.on_good_R * (1 - fit.on_good_R), fit.on_bad_R * (1 - fit.on_bad_R)])
    prior = np.append((PRIOR_RIGHT + PRIOR_WRONG - 2) * slope, 2 * (_PRIOR_GOOD - 1) * fit.share * (1 - fit.share))
    information = splu((score.T @ score + diags_array(prior)).tocsc())
    variances = np.empty(num_R)
    for r in range(num_R):
        gradient = np.zeros(2 * num_R + 1)
        gradient[[r, num_R + r]] = slope[[r, num_R + r]]
        variances[r] = gradient @ information.solve(gradient)
    return np.sqrt(variances)
