"""Rows of `benchmarks.coverage` for what is fitted or put together: calibration, AUCs beside length, seeds, weights."""

from collections.abc import Iterator
from functools import partial
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from benchmarks.coverage import Row, interval
from benchmarks.coverage_others import SIZES, prompts_of

from haloes.results import LEVEL, Score
from haloes.stats.auc import ScoredRows
from haloes.stats.auc_by_length import auc_at_equal_length, auc_differences_at_equal_length
from haloes.stats.calibration import calibration, reliability
from haloes.stats.logistic import sigmoid
from haloes.stats.means import mean_with_interval
from haloes.stats.over_seeds import interval_over_seeds
from haloes.stats.reweighted_share import observation, reweighted_share
from haloes.stats.stratified import benchmark_changes

Rng: TypeAlias = np.random.Generator

_DRAWS = 300
_NORMAL = NormalDist()
_APART = 1.0
"""How far the rewards of good and bad answers are apart; their own standard deviation is 1."""


def fits() -> Iterator[Row]:
    """List the rows."""
    for name, sizes in SIZES.items():
        for slope in (0.5, 2.0):
            draw = partial(_rewards, sizes, slope)
            yield Row(name=f"Brier score, slope {slope}, {name}", truth=_brier_of(slope), draw=draw, interval=_brier)
        draw = partial(_rewards, sizes, 0.5)
        yield Row(name=f"first bin of a calibration, {name}", truth=0.0, draw=draw, interval=_bin)
        truth = _NORMAL.cdf(_APART / 2**0.5)
        if len(sizes) >= 20:
            draw = partial(_with_lengths, sizes)
            yield Row(name=f"AUC at equal length, {name}", truth=truth, draw=draw, interval=_at_equal_length)
            yield Row(name=f"difference of such AUCs, {name}", truth=0.5 - truth, draw=draw, interval=_less_at_length)
    for seeds in (2, 3, 5):
        for of_seeds in (0.0, 0.05, 0.2):
            draw = partial(_runs, seeds, of_seeds)
            name = f"mean over {seeds} seeds, their spread {of_seeds}, that of 40 prompts 0.3"
            yield Row(name=name, truth=0.0, draw=draw, interval=_over_seeds)
    for people in (20, 60):
        for each in (1, 5):
            draw = partial(_members, people * each, each)
            name = f"share reweighted by who rates, {people} people with {each} answers"
            yield Row(name=name, truth=_SHARE, draw=draw, interval=_reweighted)
    for hard in (0.1, 0.4):
        draw = partial(_before_after, (0.9, 0.6, hard), 40)
        truth = 0.2 * (0.1 + 0.4 + 1 - hard) / 3
        yield Row(name=f"change on 3 subtasks of 40, 0.9, 0.6 and {hard}", truth=truth, draw=draw, interval=_improved)


def _normal(prompt: Any, alike: float, rng: Rng) -> Any:
    common, own = rng.normal(size=int(prompt[-1]) + 1)[prompt], rng.normal(size=len(prompt))
    return alike**0.5 * common + (1 - alike) ** 0.5 * own


def _rewards(sizes: tuple[int, ...], slope: float, rng: Rng) -> Any:
    """Draw rewards, which are alike within a prompt, and labels of which they tell the chance."""
    prompt = prompts_of(sizes)
    reward = 2 * _normal(prompt, 0.4, rng)
    return reward, rng.random(len(prompt)) < sigmoid(slope * reward), prompt.tolist()


def _brier_of(slope: float) -> float:
    chance = sigmoid(slope * 2 * np.array([_NORMAL.inv_cdf((i + 0.5) / 100_000) for i in range(100_000)]))
    return float((chance * (1 - chance)).mean())


def _brier(study: Any) -> Score | None:
    found = calibration(*study, draws=_DRAWS)
    return None if found is None else found.brier


def _bin(study: Any) -> Score | None:
    reward, label, _ = study
    first = reliability(sigmoid(0.5 * reward), label.astype(float), bins=5, draws=20).bins[0]
    # The chances of a study's bin are its own truth.
    return interval(first.desirable - first.predicted, first.low - first.predicted, first.high - first.predicted)


def _with_lengths(sizes: tuple[int, ...], rng: Rng) -> Any:
    """Draw answers of which good ones are longer, and whose rewards grow with length too; and a second reward."""
    prompt = prompts_of(sizes)
    label = np.arange(len(prompt)) % 2 == 0
    token = np.exp(4 + 0.2 * label + 0.3 * rng.normal(size=len(prompt)))
    one, other = (_normal(prompt, 0.0, rng) + 0.5 * np.log(token) + apart * label for apart in (_APART, 0.0))
    return one, other, label, prompt.tolist(), token


def _at_equal_length(study: Any) -> Score | None:
    one, _, label, prompts, token = study
    return auc_at_equal_length(one, label, prompts, token)


def _less_at_length(study: Any) -> Score | None:
    one, other, label, prompts, token = study
    rows = ScoredRows(scores=other, others=one, labels=label, prompts=prompts, tokens=token)
    return next((found.score for found in auc_differences_at_equal_length({("other", "one"): rows})), None)


def _runs(seeds: int, of_seeds: float, rng: Rng) -> Any:
    of_prompts = rng.normal(0, 0.3, 40)
    return of_prompts + rng.normal(0, of_seeds, seeds)[:, None] + rng.normal(0, 0.1, (seeds, 40))


def _over_seeds(value_SP: Any) -> Score | None:
    mean_P = value_SP.mean(axis=0)

    found = mean_with_interval(mean_P, list(range(len(mean_P))), name="", variant="")
    assert found is not None
    of_prompts = (found.low, found.high)
    ends = interval_over_seeds(lambda _: of_prompts, value_SP.mean(axis=1), LEVEL, bounds=(-np.inf, np.inf))
    return interval(float(value_SP.mean()), *ends)


def _members(num: int, each: int, rng: Rng) -> Any:
    """Draw answers, who rates them, and verdicts; both go with one feature, which a person's answers share in part."""
    person = np.repeat(np.arange(num // each), each)
    feature = _normal(person, 0.4, rng)
    observed = rng.random(num) < sigmoid(feature)
    outcome = np.where(observed, rng.random(num) < sigmoid(0.5 + feature), np.nan)
    return feature, observed, outcome, person


_SHARE = float(np.mean(sigmoid(0.5 + np.array([_NORMAL.inv_cdf((i + 0.5) / 10_000) for i in range(10_000)]))))


def _reweighted(study: Any) -> Score | None:
    feature, observed, outcome, person = study
    found = observation(np.column_stack([np.ones(len(feature)), feature]), observed, most=10.0)
    return reweighted_share(found, outcome, person, name="up", label="")


def _before_after(shares: tuple[float, ...], each: int, rng: Rng) -> Any:
    subtask = np.repeat(np.arange(len(shares)), each)
    before = rng.random(len(subtask)) < np.array(shares)[subtask]
    # A fifth of the questions that were failed are solved.
    after = before | (rng.random(len(subtask)) < 0.2)
    return tuple(dict(enumerate(column.tolist())) for column in (before * 1.0, after * 1.0, subtask))


def _improved(study: Any) -> Score | None:
    return next(change.score for change in benchmark_changes({"bench": study}, draws=_DRAWS).values())
