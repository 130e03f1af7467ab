"""Rows of `benchmarks.coverage` for judges and raters: agreement, places, ratings, and how far raters are right."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from benchmarks.coverage import Row, interval, turned
from benchmarks.coverage_others import SIZES, prompts_of

from haloes.feedback.raters.reliability import estimate_raters
from haloes.feedback.raters.votes import Votes
from haloes.results import Score
from haloes.stats.agreement import cohens_kappa, krippendorffs_alpha
from haloes.stats.logistic import sigmoid
from haloes.stats.position import flip_rate, position_bias
from haloes.stats.ratings import bradley_terry
from haloes.stats.win_rate import win_rate_difference

Rng: TypeAlias = np.random.Generator

_DRAWS = 300
_VERDICTS = np.array(["lost", "tied", "won"])
_CHANCES = {"few ties": (0.35, 0.15, 0.5), "heavy ties": (0.1, 0.8, 0.1)}
_ALIKE = 0.3
"""How often a row's chance is that which all rows of its prompt share."""
_RATINGS = {"a": 0.7, "b": 0.0, "c": -0.7}


def agreement() -> Iterator[Row]:
    """List the rows."""
    for sizes_name, sizes in SIZES.items():
        for ties_name, chances in _CHANCES.items():
            for truth in (0.5, 0.8):
                about = f"{truth}, {ties_name}, {sizes_name}"
                draw = partial(_raters, sizes, chances, 2, truth)
                yield Row(name=f"kappa {about}", truth=truth, draw=draw, interval=_kappa)
                draw = partial(_raters, sizes, chances, 3, truth)
                yield Row(name=f"alpha {about}", truth=truth, draw=draw, interval=_alpha)
            draw = partial(_games, sizes, chances[1])
            about = f"{ties_name}, {sizes_name}"
            yield Row(name=f"rating 0.7, {about}", truth=0.7, draw=draw, interval=_rating)
            yield Row(name=f"ratings, difference 0.7, {about}", truth=0.7, draw=draw, interval=_rating_difference)
        yield Row(name=f"first place 0.6, {sizes_name}", truth=0.6, draw=partial(_places, sizes), interval=_position)
        yield Row(name=f"flips 0.395, {sizes_name}", truth=0.395, draw=partial(_places, sizes), interval=_flips)
        draw = partial(_two_models, sizes)
        yield Row(name=f"difference of win rates, {sizes_name}", truth=0.1, draw=draw, interval=_change)
    for answers in (100, 300):
        name = f"rater's reliability 0.6, {answers} answers of 3 votes"
        yield Row(name=name, truth=0.6, draw=partial(_votes, answers), interval=_reliability)


def _uniform(prompt: Any, rng: Rng) -> Any:
    """Draw numbers between 0 and 1 that rows of a prompt often share."""
    own, common = rng.random(len(prompt)), rng.random(int(prompt[-1]) + 1)[prompt]
    return np.where(rng.random(len(prompt)) < _ALIKE, common, own)


def _raters(sizes: tuple[int, ...], chances: tuple[float, ...], raters: int, truth: float, rng: Rng) -> Any:
    """Draw verdicts of raters who see one truth so often that any two agree by more than chance as often as said."""
    prompt, edges = prompts_of(sizes), np.cumsum(chances)[:-1]
    seen = np.searchsorted(edges, _uniform(prompt, rng))
    found = [
        np.where(rng.random(len(prompt)) < truth**0.5, seen, np.searchsorted(edges, rng.random(len(prompt))))
        for _ in range(raters)
    ]
    return [_VERDICTS[each].tolist() for each in found], prompt.tolist()


def _kappa(study: Any) -> Score | None:
    (one, other), prompts = study
    return cohens_kappa(one, other, prompts, draws=_DRAWS)


def _alpha(study: Any) -> Score | None:
    verdicts, prompts = study
    return krippendorffs_alpha(list(zip(*verdicts, strict=True)), prompts, draws=_DRAWS)


def _games(sizes: tuple[int, ...], ties: float, rng: Rng) -> Any:
    """Draw verdicts of each pair of three models, once a row; their mean is what the ratings say, with any ties."""
    prompt = prompts_of(sizes)
    first, second, preferences = [], [], []
    for one, other in combinations(_RATINGS, 2):
        chance = float(sigmoid(np.array(_RATINGS[one] - _RATINGS[other])))
        tied = 2 * ties * min(chance, 1 - chance)
        edges = (1 - chance - tied / 2, 1 - chance + tied / 2)
        preferences += (np.searchsorted(edges, _uniform(prompt, rng)) / 2).tolist()
        first += [one] * len(prompt)
        second += [other] * len(prompt)
    return first, second, preferences, prompt.tolist() * 3


def _rating(study: Any) -> Score | None:
    rated = bradley_terry(*study, draws=_DRAWS)
    return next(score for score in rated.scores if score.variant == "a")


def _rating_difference(study: Any) -> Score | None:
    rated = bradley_terry(*study, draws=_DRAWS)
    found = next(one for one in rated.differences if {one.model, one.other} == {"a", "b"})
    return found.score if found.model == "a" else turned(found.score)


def _places(sizes: tuple[int, ...], rng: Rng) -> Any:
    """Draw verdicts of which half go to the better answer, and the rest to the first place in 70 %."""
    prompt = prompts_of(sizes)
    # Of the numbers below one half the better answer has its verdict; above, the place decides.
    in_first, in_second = ((_uniform(prompt, rng) < 0.5 + 0.5 * chance).astype(float).tolist() for chance in (0.7, 0.3))
    return in_first, in_second, prompt.tolist()


def _position(study: Any) -> Score | None:
    return position_bias(*study, draws=_DRAWS)


def _flips(study: Any) -> Score | None:
    return flip_rate(*study, draws=_DRAWS)


def _two_models(sizes: tuple[int, ...], rng: Rng) -> Any:
    """Draw verdicts on two models, of which the second wins where the first does, and in a fifth of the other rows."""
    prompt = prompts_of(sizes)
    before = _uniform(prompt, rng) < 0.5
    after = before | (_uniform(prompt, rng) < 0.2)
    prompts = prompt.tolist()
    return before.astype(float).tolist(), prompts, after.astype(float).tolist(), prompts


def _change(study: Any) -> Score | None:
    return win_rate_difference(*study, draws=_DRAWS)


def _votes(answers: int, rng: Rng) -> Votes:
    """Draw three of six people's votes on each answer; the first person is right in 80 % of either kind."""
    votes = Votes()
    votes.people |= {f"person {number}": number for number in range(6)}
    right = (0.8, 0.9, 0.7, 0.75, 0.85, 0.65)
    for answer in range(answers):
        is_good = rng.random() < 0.6
        for person in rng.choice(6, 3, replace=False).tolist():
            votes.label.append(int(is_good == (rng.random() < right[person])))
            votes.person.append(person)
            votes.answer.append(answer)
    return votes


def _reliability(votes: Votes) -> Score | None:
    rater = next(rater for rater in estimate_raters(votes).raters if rater.name == "person 0")
    return interval(rater.reliability, rater.low, rater.high)
