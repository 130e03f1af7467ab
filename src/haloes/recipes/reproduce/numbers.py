"""Numbers of an experiment's methods, over seeds: AUC on the same held-out answers, and reward against divergence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.auc import auc, auc_draws
from haloes.stats.bootstrap import Floats, cluster_codes, mean_with_interval, percentile_interval
from haloes.stats.paired import holm
from haloes.stats.rates import share_with_interval

_DRAWS = 4000
_LIKED = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """A method's AUC, the mean over its seeds, and how it differs from the baseline's."""

    method: str
    auc: float
    low: float
    high: float
    within_prompt: float
    """Share of pairs of a good and a bad answer to one prompt that the reward orders rightly; ties count half."""
    difference: float
    difference_low: float
    difference_high: float
    p: float
    """Two-sided p-value of no difference from the baseline: paired bootstrap, Holm's correction over methods."""


def auc_rows(
    rewards: Mapping[str, Sequence[Floats]], desirable: NDArray[np.bool_], prompts: Sequence[int], *, baseline: str
) -> list[Row]:
    """
    Return a row a method, in the order of the mapping.

    Prompts are drawn again for all methods and all of their seeds together; a draw's AUC is the mean over seeds, so
    that the interval holds the spread of prompts for these seeds.

    Args:
        rewards: by method, an array for every seed with a reward for each held-out answer.
        desirable: the labels of the answers.
        prompts: which answers share a prompt.
        baseline: the method that the others are compared with.
    """
    codes = cluster_codes(list(prompts))
    draws = {
        method: np.mean([auc_draws(r, desirable, codes, draws=_DRAWS, seed=0) for r in of_seeds], axis=0)
        for method, of_seeds in rewards.items()
    }
    values = {method: _mean([auc(r, desirable) for r in of_seeds]) for method, of_seeds in rewards.items()}
    others = [method for method in rewards if method != baseline]
    p = dict(zip(others, holm([_p(draws[method] - draws[baseline]) for method in others]), strict=True))
    rows = []
    for method, of_seeds in rewards.items():
        low, high = percentile_interval(_finite(draws[method]), 0.95)
        d_low, d_high = percentile_interval(_finite(draws[method] - draws[baseline]), 0.95)
        within = float(np.mean([within_prompt(r, desirable, prompts) for r in of_seeds]))
        difference = values[method] - values[baseline]
        rows.append(Row(method, values[method], low, high, within, difference, d_low, d_high, p.get(method, 1.0)))
    return rows


def within_prompt(rewards: Floats, desirable: NDArray[np.bool_], prompts: Sequence[int]) -> float:
    """Return the share of (good, bad) pairs of a prompt whose good answer has the higher reward; ties count half."""
    wins, pairs = 0.0, 0
    groups = np.asarray(prompts)
    for group in np.unique(groups):
        good, bad = rewards[(groups == group) & desirable], rewards[(groups == group) & ~desirable]
        gap = good[:, None] - bad[None, :]
        wins += float((gap > 0).sum() + (gap == 0).sum() / 2)
        pairs += gap.size
    return wins / pairs if pairs else float("nan")


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
    mean = mean_with_interval(positive, prompts, name="positive", variant=name, label="Chance of being positive")
    kl = mean_with_interval(nats, prompts, name="kl", variant=name, label="KL, nats")
    if liked is None or mean is None or kl is None:
        raise DataError(f"{name}: fewer than two prompts have no interval; measure on more")
    return Point(name, liked, mean, kl)


def with_frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points in their order, with those marked that no other point beats."""
    return [replace(one, on_frontier=not any(_beats(other, one) for other in points)) for one in points]


def _p(difference: Floats) -> float:
    """Return a two-sided p from the share of draws beyond 0; never 0, since the draws are finitely many."""
    drawn = _finite(difference)
    tail = min(float((drawn <= 0).mean()), float((drawn >= 0).mean()))
    return min(1.0, 2 * max(tail, 1 / (len(drawn) + 1)))


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def _beats(one: Point, other: Point) -> bool:
    better, closer = one.liked.value - other.liked.value, other.kl.value - one.kl.value
    return better >= 0 and closer >= 0 and (better > 0 or closer > 0)
