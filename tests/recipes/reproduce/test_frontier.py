"""Points of reward against divergence, and which of them nothing beats."""

from dataclasses import replace

import pytest

from haloes.errors import DataError
from haloes.recipes.reproduce.frontier import Point, point, with_frontier

RUN = {"prompt_id": ["a", "b", "c", "d"], "positive": [0.9, 0.6, 0.5, 0.1], "nats": [1.0, 2.0, 3.0, 6.0]}


def test_a_point_is_shares_and_means_over_prompts():
    found = point("kto", [RUN])

    # More likely than not: 0.9 and 0.6, not 0.5.
    assert (found.liked.value, found.positive.value, found.kl.value) == pytest.approx((0.5, 0.525, 3.0))
    assert found.liked.low < 0.5 < found.liked.high
    assert found.kl.low < 3 < found.kl.high


def test_seeds_share_their_prompts():
    found = point("kto", [RUN, {**RUN, "positive": [0.1, 0.6, 0.5, 0.1]}])

    assert (found.liked.value, found.liked.num_rows, found.liked.num_clusters) == (0.375, 8, 4)


def test_one_prompt_is_refused():
    with pytest.raises(DataError, match="kto: fewer than two prompts"):
        point("kto", [{"prompt_id": ["a"], "positive": [0.9], "nats": [1.0]}])


def test_what_no_other_point_beats_is_on_the_frontier():
    def at(name: str, liked: float, kl: float) -> Point:
        made = point(name, [RUN])
        return replace(made, liked=replace(made.liked, value=liked), kl=replace(made.kl, value=kl))

    points = [at("before", 0.3, 0), at("near", 0.6, 1), at("worse", 0.5, 2), at("far", 0.9, 5), at("twin", 0.9, 5)]

    assert [p.name for p in with_frontier(points) if p.on_frontier] == ["before", "near", "far", "twin"]
