"""Reward against divergence: a point a method and setting, and which of them nothing beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from haloes.errors import DataError
from haloes.records import Score
from haloes.stats.bootstrap import mean_with_interval
from haloes.stats.rates import share_with_interval

_LIKED = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """What a method with its settings came to, over its seeds."""

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
    A point of one or several runs with other seeds; prompts are what is resampled, with all their seeds.

    Args:
        name: of the method with its settings.
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
    """The points in their order, with those marked that no other point beats."""
    return [replace(one, on_frontier=not any(_beats(other, one) for other in points)) for one in points]


def _beats(one: Point, other: Point) -> bool:
    better, closer = one.liked.value - other.liked.value, other.kl.value - one.kl.value
    return better >= 0 and closer >= 0 and (better > 0 or closer > 0)
