"""Numbers of an experiment's methods, over seeds: AUC on the same held-out answers, and reward against divergence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.results import LEVEL, Score
from haloes.stats.auc_by_length import aucs_of_prompts, similar_comparisons
from haloes.stats.auc_interval import (
    Comparisons,
    all_comparisons,
    auc_interval,
    difference_interval,
    mean_comparisons,
)
from haloes.stats.bootstrap import Codes, Floats, cluster_codes
from haloes.stats.bounded_mean import bounded_mean_with_interval
from haloes.stats.means import mean_with_interval
from haloes.stats.over_seeds import interval_over_seeds, p_value_over_seeds
from haloes.stats.paired import holm
from haloes.stats.rates import share_with_interval

_LIKED = 0.5


@dataclass(frozen=True, slots=True)
class AtEqualLength:
    """The same numbers as a row's, of answers of about the same length."""

    auc: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    p: float


@dataclass(frozen=True, slots=True)
class Row:
    """A method's AUC, the mean over its seeds, and how it differs from the baseline's."""

    method: str
    auc: float
    low: float
    high: float
    within_prompts: Score | None
    """The mean over prompts of the AUC of their own answers; None where fewer than two have both labels."""
    difference: float
    difference_low: float
    difference_high: float
    p: float
    """Two-sided p-value of no difference from the baseline, with Holm's correction over methods."""
    at_equal_length: AtEqualLength | None = None
    """None where lengths were not given, or no two answers are of about the same one."""


def auc_rows(
    rewards: Mapping[str, Sequence[Floats]],
    desirable: NDArray[np.bool_],
    prompts: Sequence[int],
    *,
    baseline: str,
    tokens: Sequence[int] | None = None,
) -> list[Row]:
    """
    Return a row a method, in the order of the mapping.

    An AUC is the mean over seeds, and the interval holds the spread of prompts and of seeds (of one seed, of prompts
    alone).

    Args:
        rewards: by method, an array for every seed with a reward for each held-out answer.
        desirable: the labels of the answers.
        prompts: which answers share a prompt.
        baseline: the method that the others are compared with.
        tokens: the length of each answer.
    """
    codes = cluster_codes(list(prompts))
    of_all = {method: [all_comparisons(r, desirable, codes) for r in of_seeds] for method, of_seeds in rewards.items()}
    similar = {} if tokens is None else _of_similar(rewards, desirable, codes, np.asarray(tokens, dtype=np.float64))
    numbers, at_equal_length = _numbers(of_all, baseline), _numbers(similar, baseline)
    return [
        Row(
            method=method,
            within_prompts=_within_prompts(method, of_seeds, desirable, codes),
            at_equal_length=AtEqualLength(**at_equal_length[method]) if similar else None,
            **numbers[method],
        )
        for method, of_seeds in rewards.items()
    ]


def _of_similar(
    rewards: Mapping[str, Sequence[Floats]], desirable: NDArray[np.bool_], codes: Codes, tokens: Floats
) -> dict[str, list[Comparisons]]:
    """Return each method's comparisons of answers of about the same length, seed by seed; none without such answers."""
    found = {}
    for method, of_seeds in rewards.items():
        sides = [similar_comparisons(r, desirable, codes, tokens) for r in of_seeds]
        found[method] = [side for side in sides if side is not None]
    return {method: sides for method, sides in found.items() if sides}


def _numbers(seeds: Mapping[str, Sequence[Comparisons]], baseline: str) -> dict[str, dict[str, float]]:
    """Return each method's AUC and its difference from the baseline's, by the names of the fields."""
    values = {method: np.array([side.value for side in sides]) for method, sides in seeds.items()}
    means = {method: mean_comparisons(sides) for method, sides in seeds.items()}
    # Seed by seed: what a seed's order of the data makes of all methods cancels out.
    changes = {method: values[method] - values[baseline] for method in seeds}
    limits = {method: partial(difference_interval, means[baseline], mean) for method, mean in means.items()}
    others = [method for method in seeds if method != baseline]
    p = dict(zip(others, holm([p_value_over_seeds(limits[m], changes[m]) for m in others]), strict=True))
    numbers = {}
    for method, mean in means.items():
        low, high = interval_over_seeds(partial(auc_interval, mean), values[method], LEVEL, bounds=(0, 1))
        d_low, d_high = interval_over_seeds(limits[method], changes[method], LEVEL, bounds=(-1, 1))
        numbers[method] = {
            "auc": mean.value,
            "low": low,
            "high": high,
            "difference": mean.value - means[baseline].value,
            "difference_low": d_low,
            "difference_high": d_high,
            "p": p.get(method, 1.0),
        }
    return numbers


def _within_prompts(
    method: str, of_seeds: Sequence[Floats], desirable: NDArray[np.bool_], codes: Codes
) -> Score | None:
    """Return the mean over seeds and prompts of a prompt's AUC, with the spread of both."""
    by_seed = [aucs_of_prompts(rewards, desirable, codes) for rewards in of_seeds]
    value_SC, keys = np.array([values for values, _ in by_seed]), by_seed[0][1]
    score = bounded_mean_with_interval(value_SC.mean(axis=0), keys, name="auc_within_prompts", variant=method)
    if score is None:
        return None
    low, high = interval_over_seeds(lambda _: (score.low, score.high), value_SC.mean(axis=1), LEVEL, bounds=(0, 1))
    return replace(score, low=low, high=high, method=f"{score.method}; with the spread of {len(of_seeds)} seeds")


@dataclass(frozen=True, slots=True)
class Point:
    """Reward and divergence of a method with its settings, over its seeds."""

    name: str
    liked: Score
    """Share of continuations that are more likely positive than not."""
    positive: Score
    """Mean chance of being positive."""
    kl: Score
    """To the model before training, nats a continuation."""
    on_frontier: bool = False
    """No other point is liked as much at no more divergence, and more at that or as much at less."""


def point(name: str, runs: Sequence[Mapping[str, Any]]) -> Point:
    """
    Average runs that differ in their seed into a point; prompts are resampled, each with all its seeds.

    Args:
        name: name of the method with its settings.
        runs: `prompt_id`, `positive` (chance) and `nats` of each continuation.

    Raises:
        DataError: fewer than two prompts.
    """
    prompts = [prompt for run in runs for prompt in run["prompt_id"]]
    positive = np.concatenate([run["positive"] for run in runs])
    nats = np.concatenate([run["nats"] for run in runs])
    liked = share_with_interval(positive > _LIKED, prompts, name="liked", variant=name, label="Liked")
    mean = mean_with_interval(
        positive, prompts, name="positive", variant=name, label="Chance of being positive", bounds=(0, 1)
    )
    kl = mean_with_interval(nats, prompts, name="kl", variant=name, label="KL, nats", bounds=(0, inf))
    if liked is None or mean is None or kl is None:
        raise DataError(f"{name}: fewer than two prompts have no interval; measure on more")
    return Point(name, liked, mean, kl)


def with_frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points in their order, with those marked that no other point beats."""
    return [replace(one, on_frontier=not any(_beats(other, one) for other in points)) for one in points]


def _beats(one: Point, other: Point) -> bool:
    better, closer = one.liked.value - other.liked.value, other.kl.value - one.kl.value
    return better >= 0 and closer >= 0 and (better > 0 or closer > 0)
