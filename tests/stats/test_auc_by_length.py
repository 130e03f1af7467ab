"""An AUC controlled for length: simulations in which what length does to the reward and to the label is known."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.auc import ScoredRows, auc, auc_differences
from haloes.stats.auc_by_length import auc_beside_length, auc_differences_at_equal_length

PROMPTS, EACH = 60, 4
QUALITY = 0.8
OF_QUALITY = NormalDist().cdf(QUALITY / math.sqrt(2))


def rows(seed: int = 0, *, shorter: float = 0.0, prompts: int = PROMPTS) -> dict[str, Any]:
    """Labels, prompts, lengths (good answers shorter by so many standard deviations) and what else is in a reward."""
    rng = np.random.default_rng(seed)
    num = prompts * EACH
    label = rng.random(num) < 0.5
    log_length = 3.5 + 0.67 * (rng.normal(size=num) - shorter * label)
    return {
        "label": label,
        "prompt": np.repeat(np.arange(prompts), EACH).tolist(),
        "tokens": np.maximum(1, np.round(np.exp(log_length))),
        "quality": rng.normal(size=num) + QUALITY * label,
        "noise": rng.normal(size=num),
    }


def beside(reward: Any, of: dict[str, Any]) -> dict[str, Score]:
    return {score.name: score for score in auc_beside_length(reward, of["label"], of["prompt"], of["tokens"])}


@pytest.mark.parametrize("direction", [1, -1])
def test_a_reward_that_is_nothing_but_length_is_at_chance_at_equal_length(direction: int):
    data = rows(shorter=1.5, prompts=400)
    found = beside(direction * data["tokens"], data)

    pooled = auc(direction * data["tokens"], data["label"])
    assert abs(pooled - 0.5) > 0.3
    assert found["auc_length_controlled"].value == pytest.approx(0.5, abs=0.02)
    assert found["auc_length_controlled"].low < 0.5 < found["auc_length_controlled"].high


@pytest.mark.parametrize("drift", ["none", "per token", "curved"])
@pytest.mark.parametrize("shorter", [0.0, 1.5, -1.5])
def test_what_a_reward_knows_beyond_length_comes_out_whatever_it_makes_of_length(drift: str, shorter: float):
    values = []
    for seed in range(12):
        data = rows(seed, shorter=shorter)
        log_length = np.log(data["tokens"]) - 3.5
        added = {"none": 0, "per token": -0.05 * data["tokens"], "curved": 2 * log_length**2 - log_length}[drift]
        values.append(beside(data["quality"] + added, data)["auc_length_controlled"].value)

    assert np.mean(values) == pytest.approx(OF_QUALITY, abs=0.04)


def test_length_alone_says_which_direction_it_has():
    for shorter, word in ((1.0, "shorter"), (-1.0, "longer")):
        data = rows(shorter=shorter)
        found = beside(data["noise"], data)["auc_length"]

        assert found.value > 0.6
        assert word in found.label


def test_per_token_divides_by_the_length():
    data = rows(shorter=1.0)
    found = beside(data["quality"] * data["tokens"], data)["auc_per_token"]

    assert found.value == pytest.approx(auc(data["quality"], data["label"]))


def test_within_prompts_is_the_mean_over_prompts_with_both_labels():
    # Of prompt a one of two is in order, of b the only one; c has no bad answer.
    label = [True, False, False, True, False, True]
    scores = [1.0, 0.0, 2.0, 5.0, 4.0, 9.0]
    found = {s.name: s for s in auc_beside_length(scores, label, list("aaabbc"), [5] * 6)}["auc_within_prompts"]

    assert found.value == pytest.approx((0.5 + 1) / 2)
    assert found.num_clusters == 2


def test_answers_without_others_of_their_length_have_no_number_at_equal_length():
    found = {s.name for s in auc_beside_length([1.0, 0.0, 2.0], [True, False, False], list("abc"), [5, 50, 500])}

    assert "auc_length_controlled" not in found
    assert "auc_length" in found


def test_ten_percent_is_about_the_same_length_and_eleven_is_not():
    compared = auc_beside_length([1.0, 0.0, 0.0], [True, False, False], list("abc"), [1000, 1100, 1110])[0]

    assert (compared.name, compared.num_rows) == ("auc_length_controlled", 2)


def test_lengths_must_agree():
    with pytest.raises(DataError, match="give one a score"):
        auc_beside_length([1.0, 0.0], [True, False], list("ab"), [5])


def test_two_models_that_differ_in_their_drift_alone_differ_in_auc_but_not_at_equal_length():
    data = rows(3, shorter=1.0, prompts=100)
    one = data["quality"] - 0.06 * data["tokens"]
    other = data["quality"] + 0.1 * data["noise"] + 0.06 * data["tokens"]
    pair = ScoredRows(
        scores=one.tolist(),
        others=other.tolist(),
        labels=data["label"].tolist(),
        prompts=data["prompt"],
        tokens=data["tokens"].astype(int).tolist(),
    )
    (pooled,) = auc_differences({("one", "other"): pair})
    (controlled,) = auc_differences_at_equal_length({("one", "other"): pair})

    assert pooled.p_value < 1e-6
    assert pooled.score.value > 0.2
    assert controlled.p_value > 0.05
    assert abs(controlled.score.value) < 0.1


def test_the_p_value_goes_with_the_interval():
    for seed in range(30):
        data = rows(seed, prompts=20)
        pair = ScoredRows(
            scores=data["quality"].tolist(),
            others=data["noise"].tolist(),
            labels=data["label"].tolist(),
            prompts=data["prompt"],
            tokens=data["tokens"].astype(int).tolist(),
        )
        for of in (auc_differences, auc_differences_at_equal_length):
            (found,) = of({("a", "b"): pair})
            assert (found.p_value < 0.05) == (found.score.low > 0 or found.score.high < 0)
