"""
How likely an answer of some kind is rated, where the export also holds the answers that nobody rated.

A logistic regression of "is rated" on what is seen of an answer without reading it: its length, whether it holds code,
its place in the conversation, the model that gave it, and the hour. Rows then weigh by 1 / P(rated), so that those who
rate stand for all who were shown an answer (`stats.reweighted_share`): if it is these things that decide who rates, and
not how much the answer was liked, which votes alone can never tell.

Memory while fitting is 700 bytes an answer.

Shapes: N answers, R of them rated, K features.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import nan

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.raters.kinds import hour_names, kinds, length_names, model_names, number_names, share_by_people
from haloes.feedback.raters.shown_answers import ShownAnswers
from haloes.feedback.raters.votes import UNKNOWN
from haloes.results import RatedOf, ShownAndRated
from haloes.stats.bootstrap import Floats
from haloes.stats.reweighted_share import observation, reweighted_share

MOST_WEIGHT = 10.0
"""The largest weight, as a multiple of the mean weight."""
FEWEST = 20
"""Rated answers, and unrated ones, below which nothing is estimated."""


@dataclass(frozen=True, slots=True)
class ChanceOfRating:
    """What was shown and what of it is rated, and the weights that follow."""

    shown: ShownAndRated
    factors: Mapping[int, float]
    """Factor on the weight of each verdict, by its place in the order of reading, with a mean of 1; none without
    weights."""


def chance_of_rating(answers: ShownAnswers) -> ChanceOfRating:
    """Compare rated with unrated answers, and estimate what the rated ones weigh."""
    verdict_N, person_N = _int64(answers.verdicts), _int64(answers.person)
    is_rated_N = verdict_N > 0
    names = _names(answers)
    counted = ShownAndRated(
        num_shown=len(answers),
        num_rated=int(is_rated_N.sum()),
        rated=share_by_people(is_rated_N, person_N, "rated", "answers that are rated"),
        kinds=tuple(_rated_of(names, is_rated_N, person_N)),
        num_not_shown=answers.num_not_shown,
    )
    if reason := _too_little(counted.num_rated, counted.num_shown - counted.num_rated):
        return ChanceOfRating(replace(counted, too_little=reason), {})
    found = observation(_features(answers, names), is_rated_N, most=MOST_WEIGHT)
    # Of the rows, of which an answer may have several.
    factor_N = found.weight_N * (verdict_N.sum() / (found.weight_N @ verdict_N))
    thumb_N = _int64(answers.ups) + _int64(answers.downs)
    up_N = np.divide(_int64(answers.ups), thumb_N, out=np.full(len(answers), nan), where=thumb_N > 0)
    codes_N = np.unique(person_N, return_inverse=True)[1].reshape(-1)
    alike = observation(np.ones((len(answers), 1)), is_rated_N, most=MOST_WEIGHT)
    shown = replace(
        counted,
        up=reweighted_share(alike, up_N, codes_N, name="up", label="up votes on rated answers"),
        up_of_all=reweighted_share(found, up_N, codes_N, name="up_of_all", label="up votes if all had rated"),
        num_rows=int(verdict_N.sum()),
        num_effective=float((factor_N @ verdict_N) ** 2 / (factor_N**2 @ verdict_N)),
        most=float(factor_N.max()),
        num_clipped=int(found.is_clipped_N.sum()),
    )
    return ChanceOfRating(shown, {place: float(factor_N[answer]) for place, answer in answers.answer_of.items()})


def _too_little(num_rated: int, num_unrated: int) -> str:
    if num_unrated == 0:
        return "it holds no answer that nobody rated"
    if min(num_rated, num_unrated) < FEWEST:
        return f"{num_rated} answers are rated and {num_unrated} are not, and {FEWEST} of either are the fewest"
    return ""


def _names(answers: ShownAnswers) -> dict[str, list[str | None]]:
    """Return the kind of each answer, by what kinds differ in."""
    code = [("without code", "with code")[has] for has in answers.has_code]
    return {
        "model": model_names(_int64(answers.model), list(answers.models)),
        "length": length_names(_int64(answers.characters), "character"),
        "number": number_names(_int64(answers.number)),
        "code": [*code],
        "hour": hour_names(_int64(answers.seconds)),
    }


def _rated_of(
    names: Mapping[str, list[str | None]], is_rated_N: NDArray[np.bool_], person_N: NDArray[np.int64]
) -> Iterator[RatedOf]:
    for kind in kinds(names):
        rated_M = is_rated_N[kind.own_N]
        yield RatedOf(
            by=kind.by,
            name=kind.name,
            num_shown=len(rated_M),
            num_rated=int(rated_M.sum()),
            rated=share_by_people(rated_M, person_N[kind.own_N], "rated", f"answers that are rated, {kind.name}"),
        )


def _features(answers: ShownAnswers, names: Mapping[str, list[str | None]]) -> Floats:
    """Return what the chance depends on, (N, K): a constant, numbers with a spread of 1, and marks of 0 and 1."""
    length_N = _standardized(np.log1p(_int64(answers.characters)))
    number_N = _int64(answers.number)
    columns = [
        np.ones(len(answers)),
        # Squared too: who rates may like to rate the very short and the very long.
        length_N,
        length_N**2,
        _standardized(np.log(np.maximum(number_N, 1))),
        number_N == UNKNOWN,
        _int64(answers.has_code),
    ]
    for by in ("model", "hour"):
        name_N = np.array([name or "" for name in names[by]], dtype=object)
        # The first is what the others differ from.
        columns += [name_N == name for name in sorted(set(name_N.tolist()))[1:]]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _standardized(value_N: Floats) -> Floats:
    spread = float(value_N.std())
    return np.asarray((value_N - value_N.mean()) / (spread if spread > 0 else 1.0), dtype=np.float64)


def _int64(column: object) -> NDArray[np.int64]:
    return np.array(column, dtype=np.int64)
