"""Rows of `benchmarks.coverage` for win rates, benchmarks with subtasks, rank correlations and calibration."""

from collections.abc import Iterator
from functools import partial
from math import asin, pi
from typing import Any, TypeAlias

import numpy as np
from benchmarks.coverage import Row

from haloes.results import Score
from haloes.stats.reward_pairs import RewardPairs, pair_calibration, rank_correlation
from haloes.stats.stratified import benchmark_mean
from haloes.stats.win_rate import win_rate

Rng: TypeAlias = np.random.Generator

_DRAWS = 300
SIZES = {
    "10 prompts": (1,) * 10,
    "50 prompts": (1,) * 50,
    "20 prompts of 4": (4,) * 20,
    "80 prompts of 3": (3,) * 80,
    "12 prompts of 1 to 30": (1, 1, 1, 2, 2, 3, 3, 5, 6, 8, 16, 30),
    "20 prompts, one with half of the rows": (38, *(2,) * 19),
}


def others() -> Iterator[Row]:
    """List the rows."""
    for name, sizes in SIZES.items():
        for chances in ((0.3, 0.2, 0.5), (0.1, 0.8, 0.1)):
            draw = partial(_verdicts, sizes, chances)
            truth = chances[1] / 2 + chances[2]
            yield Row(name=f"win rate {chances}, {name}", truth=truth, draw=draw, interval=_win_rate)
        for correlation in (0.0, 0.7):
            truth = 6 / pi * asin(correlation / 2)
            draw = partial(_ranked, sizes, correlation)
            yield Row(name=f"rank correlation {truth:.2f}, {name}", truth=truth, draw=draw, interval=_correlation)
        draw = partial(_margins, sizes)
        yield Row(name=f"slope of the calibration, {name}", truth=_SLOPE, draw=draw, interval=_slope)
    for hard in (0.1, 0.4):
        draw = partial(_subtasks, (0.9, 0.6, hard), 40)
        yield Row(name=f"3 subtasks of 40, 0.9, 0.6 and {hard}", truth=(1.5 + hard) / 3, draw=draw, interval=_benchmark)


_SLOPE = 0.5


def prompts_of(sizes: tuple[int, ...]) -> Any:
    """Number the prompt of each row."""
    return np.repeat(np.arange(len(sizes)), sizes)


def _verdicts(sizes: tuple[int, ...], chances: tuple[float, ...], rng: Rng) -> tuple[list[float], list[int]]:
    """Draw verdicts; those of a prompt are alike in three of ten cases."""
    prompt = prompts_of(sizes)
    own = rng.choice([0.0, 0.5, 1.0], p=chances, size=len(prompt))
    common = rng.choice([0.0, 0.5, 1.0], p=chances, size=len(sizes))[prompt]
    return np.where(rng.random(len(prompt)) < 0.3, common, own).tolist(), prompt.tolist()


def _ranked(sizes: tuple[int, ...], correlation: float, rng: Rng) -> tuple[Any, Any, list[int]]:
    prompt = prompts_of(sizes)
    alike = rng.normal(size=(len(sizes), 2))[prompt] * 0.3**0.5 + rng.normal(size=(len(prompt), 2)) * 0.7**0.5
    one = alike[:, 0]
    return one, correlation * one + (1 - correlation**2) ** 0.5 * alike[:, 1], prompt.tolist()


def _margins(sizes: tuple[int, ...], rng: Rng) -> RewardPairs:
    """Draw pairs of which the one with the higher reward was chosen as often as the slope says."""
    prompt = prompts_of(sizes)
    margin = rng.normal(scale=2, size=len(prompt))
    right = rng.random(len(prompt)) < 1 / (1 + np.exp(-_SLOPE * margin))
    zero = np.zeros(len(prompt))
    return RewardPairs(
        chosen=np.where(right, margin, -margin),
        rejected=zero,
        chosen_length=zero,
        rejected_length=zero,
        prompts=prompt.tolist(),
    )


def _subtasks(shares: tuple[float, ...], each: int, rng: Rng) -> tuple[list[float], list[int], list[int]]:
    subtask = np.repeat(np.arange(len(shares)), each)
    right = rng.random(len(subtask)) < np.array(shares)[subtask]
    return right.astype(float).tolist(), list(range(len(subtask))), subtask.tolist()


def _win_rate(study: tuple[list[float], list[int]]) -> Score | None:
    return win_rate(*study, draws=_DRAWS).score


def _correlation(study: tuple[Any, Any, list[int]]) -> Score | None:
    one, other, prompts = study
    return rank_correlation(one, other, prompts, name="correlation", draws=_DRAWS)


def _slope(pairs: RewardPairs) -> Score | None:
    found = pair_calibration(pairs, draws=_DRAWS)
    return None if found is None else found.slope


def _benchmark(study: tuple[list[float], list[int], list[int]]) -> Score | None:
    return benchmark_mean(*study, name="benchmark", variant="after", draws=_DRAWS)
