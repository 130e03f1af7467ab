"""
Simulated studies: the 95 % intervals hold the truth in 93 to 97 % of them.

The seeds are fixed and the numbers of studies large enough that the simulation itself is good to about a point.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from haloes.results import Score
from haloes.stats.agreement import cohens_kappa, krippendorffs_alpha
from haloes.stats.length_control import length_controlled_win_rate
from haloes.stats.position import position_bias
from haloes.stats.ratings import bradley_terry
from haloes.stats.win_rate import win_rate, win_rate_difference

DRAWS = 300


def coverage(study: Callable[[np.random.Generator], Score | None], truth: float, *, studies: int) -> float:
    """The share of studies whose interval holds the truth."""
    rng = np.random.default_rng(0)
    scores = [study(rng) for _ in range(studies)]
    return float(np.mean([score.low <= truth <= score.high for score in scores]))


@pytest.mark.parametrize("num_prompts", [25, 200], ids=["few prompts", "many prompts"])
def test_win_rates_with_ties(num_prompts: int):
    def study(rng: np.random.Generator) -> Score | None:
        verdicts = rng.choice([1.0, 0.5, 0.0], p=[0.5, 0.2, 0.3], size=num_prompts)
        return win_rate(verdicts.tolist(), range(num_prompts), draws=DRAWS, seed=int(rng.integers(1 << 30))).score

    assert 0.93 <= coverage(study, 0.6, studies=400) <= 0.97


def test_win_rates_with_seeds_nested_in_prompts():
    prompts = np.repeat(np.arange(80), 3).tolist()

    def study(rng: np.random.Generator) -> Score | None:
        chance = np.repeat(rng.beta(2, 1, size=80), 3)  # the mean of Beta(2, 1) is 2/3
        return win_rate(
            (rng.random(240) < chance).astype(float).tolist(), prompts, draws=DRAWS, seed=int(rng.integers(1 << 30))
        ).score

    assert 0.93 <= coverage(study, 2 / 3, studies=400) <= 0.97


def test_differences_of_win_rates_on_the_same_prompts():
    def study(rng: np.random.Generator) -> Score | None:
        ease = rng.random(100)  # after wins where before does and in a fifth of the other prompts: 0.2 * 0.5
        before = (rng.random(100) < ease).astype(float)
        after = np.maximum(before, rng.random(100) < 0.2)
        return win_rate_difference(
            before.tolist(), range(100), after.tolist(), range(100), draws=DRAWS, seed=int(rng.integers(1 << 30))
        )

    assert 0.93 <= coverage(study, 0.1, studies=400) <= 0.97


def test_position_bias():
    def study(rng: np.random.Generator) -> Score | None:
        # Half of the verdicts go to the better answer, the rest to the first place in 70 %: 0.5 * 0.5 + 0.5 * 0.7.
        first, second = (
            np.where(rng.random(120) < 0.5, 1.0, rng.random(120) < chance).astype(float) for chance in (0.7, 0.3)
        )
        return position_bias(first.tolist(), second.tolist(), range(120), draws=DRAWS, seed=int(rng.integers(1 << 30)))

    assert 0.93 <= coverage(study, 0.6, studies=400) <= 0.97


def test_length_controlled_win_rates():
    def study(rng: np.random.Generator) -> Score | None:
        longer_by = rng.normal(0.5, 1, size=150)
        chance = 1 / (1 + np.exp(-0.4 - 1.5 * np.tanh(longer_by)))
        preferences = (rng.random(150) < chance).astype(float).tolist()
        found = length_controlled_win_rate(preferences, longer_by.tolist(), [0.0] * 150, range(150))
        return found.score if found else None

    assert 0.93 <= coverage(study, 1 / (1 + np.exp(-0.4)), studies=200) <= 0.97


def test_differences_of_ratings():
    truth = {"a": 0.6, "b": 0.1, "c": -0.7}
    games = [(one, other, prompt) for prompt in range(80) for one, other in combinations(truth, 2)]
    first, second, prompts = (list(column) for column in zip(*games, strict=True))
    chance = np.array([1 / (1 + np.exp(truth[other] - truth[one])) for one, other, _ in games])

    def study(rng: np.random.Generator) -> Score | None:
        preferences = (rng.random(len(games)) < chance).astype(float).tolist()
        found = bradley_terry(
            first, second, preferences, prompts, draws=DRAWS, seed=int(rng.integers(1 << 30))
        ).differences
        return next((d.score for d in found if (d.model, d.other) == ("a", "c")), None)

    assert 0.93 <= coverage(study, 1.3, studies=300) <= 0.97


@pytest.mark.parametrize("coefficient", ["kappa", "alpha"])
def test_agreement(coefficient: str):
    # Both raters see one truth, half of the time each way, and get it right in 85 %: they agree in 0.85^2 + 0.15^2.
    agreed = 0.85**2 + 0.15**2

    def study(rng: np.random.Generator) -> Score | None:
        truth = rng.random(150) < 0.5
        one, other = (np.where(rng.random(150) < 0.85, truth, ~truth).tolist() for _ in range(2))
        if coefficient == "kappa":
            return cohens_kappa(one, other, range(150), draws=DRAWS, seed=int(rng.integers(1 << 30)))
        return krippendorffs_alpha(
            list(zip(one, other, strict=True)), range(150), draws=DRAWS, seed=int(rng.integers(1 << 30))
        )

    assert 0.93 <= coverage(study, (agreed - 0.5) / 0.5, studies=300) <= 0.97
