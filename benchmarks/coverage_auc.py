"""Rows of `benchmarks.coverage` for AUCs: few rows of a class, other shapes, several answers a prompt, differences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from benchmarks.coverage import Row
from numpy.typing import NDArray

from haloes.results import Score
from haloes.stats.auc import auc_difference_with_interval, auc_with_interval

Rng: TypeAlias = np.random.Generator
Rows: TypeAlias = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]
"""Scores (one column a model), labels and prompts."""

_NORMAL = NormalDist()
_AUCS = (0.5, 0.7, 0.9, 0.99)
_FEWEST = 3
"""Rows of each class that a study has to have."""


def alone() -> Iterator[Row]:
    """List the rows of single AUCs."""
    for auc in _AUCS:
        for good, bad in ((3, 100), (5, 100), (10, 100), (5, 45), (3, 20), (5, 5), (10, 10), (25, 25), (100, 100)):
            yield _row(f"{good}+{bad} rows, AUC {auc}", auc, partial(_independent, good, bad, _normal(auc)))
    for auc in (0.7, 0.9):
        for good, bad in ((10, 10), (50, 50)):
            name = f"{good}+{bad} rows, AUC {auc}"
            yield _row(f"{name}, spread 3 to 1", auc, partial(_independent, good, bad, _normal(auc, spread=3)))
            yield _row(f"{name}, exponential", auc, partial(_independent, good, bad, _exponential(auc)))
    for auc in _AUCS:
        for prompts in _PROMPTS:
            yield _row(f"{prompts.name}, AUC {auc}", prompts.truth(auc), partial(prompts.draw, auc))


def differences() -> Iterator[Row]:
    """List the rows of differences between two models on the same answers."""
    for first, second in ((0.7, 0.7), (0.5, 0.7), (0.9, 0.8), (0.99, 0.9)):
        for correlation in (0.0, 0.7, 0.95):
            for prompts in _OF_TWO:
                draw = partial(prompts.draw_two, first, second, correlation)
                truth = prompts.truth(second) - prompts.truth(first)
                name = f"{prompts.name}, {first} and {second}, correlation {correlation}"
                yield Row(name=name, truth=truth, draw=draw, interval=_difference)


def _row(name: str, truth: float, draw: Callable[[Rng], Rows]) -> Row:
    return Row(name=name, truth=truth, draw=draw, interval=_one)


def _one(rows: Rows) -> Score | None:
    return auc_with_interval(rows[0][:, 0], rows[1], rows[2].tolist())


def _difference(rows: Rows) -> Score | None:
    return auc_difference_with_interval(rows[0][:, 0], rows[0][:, 1], rows[1], rows[2].tolist())


def _normal(auc: float, *, spread: float = 1) -> Callable[[Rng, int, int], NDArray[np.float64]]:
    """Draw normal scores, those of the good rows `spread` times as wide."""
    mean = _NORMAL.inv_cdf(auc) * (1 + spread**2) ** 0.5
    return lambda rng, good, bad: np.concatenate([rng.normal(mean, spread, good), rng.normal(0, 1, bad)])


def _exponential(auc: float) -> Callable[[Rng, int, int], NDArray[np.float64]]:
    """Draw exponential scores: the larger of two with means a and b is the first in a / (a + b) of cases."""
    return lambda rng, good, bad: np.concatenate([rng.exponential(auc / (1 - auc), good), rng.exponential(1, bad)])


def _independent(good: int, bad: int, scores: Callable[[Rng, int, int], NDArray[np.float64]], rng: Rng) -> Rows:
    label = np.arange(good + bad) < good
    return scores(rng, good, bad)[:, None], label, np.arange(good + bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Prompts with several answers each, whose scores have something in common."""

    name: str
    sizes: tuple[int, ...]
    """Answers of each prompt."""
    good: float | None = 0.5
    """Share of good answers; None: every other one, so that each prompt of two has one of each."""
    common: float = 0.7
    """Standard deviation of what a prompt's answers have in common; that of an answer's own part is 1."""
    step: float = 0.0
    """Scores are rounded to multiples of it: ties."""

    def truth(self, auc: float) -> float:
        """Return the AUC over all comparisons, where `auc` is that of answers to different prompts."""
        apart = _NORMAL.inv_cdf(auc) * (2 * (1 + self.common**2)) ** 0.5
        sizes = np.array(self.sizes)
        num = sizes.sum()
        same = (sizes * (sizes - 1)).sum() / (num * (num - 1))
        if self.good is None:
            same = (sizes**2).sum() / num**2
        return float(same * _NORMAL.cdf(apart / 2**0.5) + (1 - same) * auc)

    def draw(self, auc: float, rng: Rng) -> Rows:
        """Draw a study of one model."""
        score, label, prompt = self.draw_two(auc, auc, 0.0, rng)
        return score[:, :1], label, prompt

    def draw_two(self, first: float, second: float, correlation: float, rng: Rng) -> Rows:
        """Draw a study of two models whose noise correlates."""
        prompt = np.repeat(np.arange(len(self.sizes)), self.sizes)
        label = self._labels(rng, len(prompt))
        mix = np.array([[1.0, correlation], [0.0, (1 - correlation**2) ** 0.5]])
        noise = (rng.normal(size=(len(prompt), 2)) + self.common * rng.normal(size=(len(self.sizes), 2))[prompt]) @ mix
        apart = np.array([_NORMAL.inv_cdf(auc) for auc in (first, second)]) * (2 * (1 + self.common**2)) ** 0.5
        score = noise + apart * label[:, None]
        return (np.round(score / self.step) * self.step if self.step else score), label, prompt

    def _labels(self, rng: Rng, num: int) -> NDArray[np.bool_]:
        if self.good is None:
            return np.arange(num) % 2 == 0
        while True:
            label = rng.random(num) < self.good
            if _FEWEST <= label.sum() <= num - _FEWEST:
                return label


_PROMPTS = (
    Prompts(name="5 prompts of 4 answers", sizes=(4,) * 5),
    Prompts(name="10 prompts of 4", sizes=(4,) * 10),
    Prompts(name="40 prompts of 4", sizes=(4,) * 40),
    Prompts(name="40 prompts of 4, 5 % good", sizes=(4,) * 40, good=0.05),
    Prompts(name="40 prompts of a pair", sizes=(2,) * 40, good=None, common=1),
    Prompts(name="40 prompts of a pair, much in common", sizes=(2,) * 40, good=None, common=3),
    Prompts(name="12 prompts of 1 to 30", sizes=(1, 1, 1, 2, 2, 3, 3, 5, 6, 8, 16, 30)),
    Prompts(name="20 prompts, one with half of the rows", sizes=(38, *(2,) * 19)),
)
_OF_TWO = (
    Prompts(name="45 rows, 11 % good", sizes=(1,) * 45, good=0.11, common=0),
    Prompts(name="100 rows", sizes=(1,) * 100, common=0),
    Prompts(name="10 prompts of 4", sizes=(4,) * 10),
    Prompts(name="40 prompts of 4", sizes=(4,) * 40),
    Prompts(name="40 prompts of a pair", sizes=(2,) * 40, good=None, common=1),
)
