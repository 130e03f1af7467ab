"""Rows of `benchmarks.coverage` for win rates at equal length, ratings, agreement and corrected refusals."""

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from benchmarks.coverage import Row

from haloes.results import Score
from haloes.stats.agreement import cohens_kappa
from haloes.stats.length_control import length_controlled_win_rate
from haloes.stats.logistic import sigmoid
from haloes.stats.ratings import bradley_terry
from haloes.stats.refusal import FOUND, corrected_refusal_rate
from haloes.stats.shared_difficulty import Compared, length_controlled_together

Rng: TypeAlias = np.random.Generator

_DRAWS = 200
_TASTE = -1.5
"""The judge's weight of length."""
_DIFFICULTY = 1.5
"""Spread of the prompts' difficulties, as of AlpacaEval's."""


def judged() -> Iterator[Row]:
    """List the rows."""
    for num in (20, 100):
        # A rate is over the prompts of a study; over all prompts it is this mean of many.
        for theta in (-1.0, 0.5):
            draw = partial(_compared, (theta,), num, 0.0)
            yield Row(
                name=f"at equal length, {num} prompts, rate {sigmoid(np.array(theta)):.2f}",
                truth=float(sigmoid(np.array(theta))),
                draw=draw,
                interval=_alone,
            )
        for count in (2, 5):
            thetas = (-1.0, *np.linspace(-2, 0.5, count - 1).tolist())
            yield Row(
                name=f"at equal length, {count} systems, {num} prompts",
                truth=_rate(-1.0, _DIFFICULTY),
                draw=partial(_compared, thetas, num, _DIFFICULTY),
                interval=_together,
            )
    for model in FOUND:
        draw = partial(_refused, model, 0.2, 50)
        yield Row(name=f"refusals 0.2 of 50, corrected, as {model}", truth=0.2, draw=draw, interval=_corrected)
    for num in (10, 50):
        yield Row(name=f"kappa 0.5, {num} rows", truth=0.5, draw=partial(_raters, num), interval=_kappa)
        yield Row(name=f"rating 0.7 of 3 models, {num} prompts", truth=0.7, draw=partial(_games, num), interval=_rating)


def _rate(theta: float, spread: float) -> float:
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    return float(sigmoid(theta + spread * z) @ weight / weight.sum())


def _compared(thetas: tuple[float, ...], num: int, spread: float, rng: Rng) -> list[Compared]:
    """Draw systems whose lengths have nothing to do with how hard a prompt is."""
    easy = rng.normal(0, 1, num) * spread
    baseline = np.exp(rng.normal(7, 0.5, num))
    systems = []
    for number, theta in enumerate(thetas):
        lengths = baseline * np.exp(rng.normal(-0.2, 0.4, num))
        shorter = baseline - lengths
        chance = sigmoid(theta + _TASTE * np.tanh(shorter / shorter.std(ddof=1)) + easy)
        systems.append(
            Compared(
                variant=str(number),
                preferences=(rng.random(num) < chance).astype(float).tolist(),
                lengths=lengths.tolist(),
                baseline_lengths=baseline.tolist(),
                prompts=list(range(num)),
            )
        )
    return systems


def _alone(systems: list[Compared]) -> Score | None:
    (one,) = systems
    found = length_controlled_win_rate(one.preferences, one.lengths, one.baseline_lengths, one.prompts, draws=_DRAWS)
    return None if found is None else found.score


def _together(systems: list[Compared]) -> Score | None:
    found = length_controlled_together(systems, draws=_DRAWS)[0]
    return None if found is None else found.score


def _refused(model: str, truth: float, num: int, rng: Rng) -> list[bool]:
    hits, refusals, false_alarms, helpful = FOUND[model]
    sensitivity = rng.beta(hits + 0.5, refusals - hits + 0.5)
    named = rng.beta(false_alarms + 0.5, helpful - false_alarms + 0.5)
    found: list[bool] = (rng.random(num) < truth * sensitivity + (1 - truth) * named).tolist()
    return found


def _corrected(refused: list[bool]) -> Score | None:
    return corrected_refusal_rate(refused, [str(row) for row in range(len(refused))])


def _raters(num: int, rng: Rng) -> Any:
    first = rng.random(num) < 0.5
    return first, np.where(rng.random(num) < 0.5, first, rng.random(num) < 0.5)


def _kappa(study: Any) -> Score | None:
    first, second = study
    return cohens_kappa(first.tolist(), second.tolist(), list(range(len(first))), draws=_DRAWS)


_RATINGS = {"a": 0.7, "b": 0.0, "c": -0.7}


def _games(num: int, rng: Rng) -> Any:
    """Draw a verdict of each pair of models on each prompt."""
    pairs = [(one, other) for one in _RATINGS for other in _RATINGS if one < other] * num
    chance = sigmoid(np.array([_RATINGS[one] - _RATINGS[other] for one, other in pairs]))
    prompts = np.repeat(np.arange(num), len(_RATINGS)).tolist()
    return [one for one, _ in pairs], [other for _, other in pairs], (rng.random(len(pairs)) < chance) * 1.0, prompts


def _rating(study: Any) -> Score | None:
    first, second, preferences, prompts = study
    rated = bradley_terry(first, second, preferences.tolist(), prompts, draws=_DRAWS)
    return next((score for score in rated.scores if score.variant == "a"), None)
