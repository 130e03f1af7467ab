"""Length control: judges whose taste for length is known, and the regression against scipy's optimiser."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from haloes.errors import DataError
from haloes.stats.length_control import PRIOR_SD, length_controlled_win_rate
from haloes.stats.win_rate import win_rate

NUM = 600
PROMPTS = list(range(NUM))


def longer_answers(seed: int = 0) -> tuple[list[float], list[float]]:
    """Lengths of a model that mostly says more than its baseline."""
    rng = np.random.default_rng(seed)
    baseline = np.exp(rng.normal(6.5, 0.5, size=NUM)).round()
    return (baseline + rng.normal(300, 300, size=NUM)).round().clip(1).tolist(), baseline.tolist()


def standardised(lengths: list[float], baseline: list[float]) -> np.ndarray:
    shorter_by = np.array(baseline) - np.array(lengths)
    return np.tanh(shorter_by / shorter_by.std(ddof=1))


def test_a_judge_that_only_prefers_length_has_a_high_raw_and_an_even_controlled_rate():
    # Only answers of nearly equal length tell of equal ones, so that a single sample of 600 is often 6 points off.
    rates, phis = [], []
    for seed in range(10):
        lengths, baseline = longer_answers(seed)
        preferences = [0.5 + 0.5 * math.copysign(a != b, a - b) for a, b in zip(lengths, baseline, strict=True)]
        assert win_rate(preferences, PROMPTS, draws=20).score.value > 0.8
        found = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS)
        rates.append(found.score.value)
        phis.append(found.phi_length)
    assert np.mean(rates) == pytest.approx(0.5, abs=0.04)
    assert max(phis) < -5


def test_so_has_a_judge_that_leans_to_length_as_a_matter_of_chance():
    lengths, baseline = longer_answers()
    chance = 1 / (1 + np.exp(3 * standardised(lengths, baseline)))
    preferences = (np.random.default_rng(1).random(NUM) < chance).astype(float).tolist()
    assert win_rate(preferences, PROMPTS).score.value > 0.7
    found = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS)
    assert found.score.value == pytest.approx(0.5, abs=0.06)
    assert found.score.low < 0.5 < found.score.high
    assert found.phi_length == pytest.approx(-3, abs=0.6)


def test_a_judge_that_does_not_care_about_length_leaves_the_rate_as_it_is():
    lengths, baseline = longer_answers()
    preferences = np.random.default_rng(2).choice([0.0, 0.5, 1.0], p=[0.2, 0.1, 0.7], size=NUM).tolist()
    raw = win_rate(preferences, PROMPTS).score.value
    found = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS)
    assert found.score.value == pytest.approx(raw, abs=0.04)
    assert abs(found.phi_length) < 0.4


def test_the_coefficients_and_the_rate_are_those_of_scipys_minimum():
    lengths, baseline = longer_answers()
    rng = np.random.default_rng(3)
    share, difficulty = rng.random(NUM), rng.normal(size=NUM)
    features = np.c_[np.ones(NUM), standardised(lengths, baseline), difficulty]

    def loss(b: np.ndarray) -> float:
        chance = 1 / (1 + np.exp(-features @ b))
        return -(share @ np.log(chance) + (1 - share) @ np.log(1 - chance)) + (b @ b) / (2 * PRIOR_SD**2)

    theta, phi, psi = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-6}).x
    found = length_controlled_win_rate(share.tolist(), lengths, baseline, PROMPTS, difficulties=difficulty.tolist())
    assert (found.theta, found.phi_length, found.psi_difficulty) == pytest.approx((theta, phi, psi), abs=1e-5)
    assert found.score.value == pytest.approx(np.mean(1 / (1 + np.exp(-theta - psi * difficulty))), abs=1e-6)


def test_naming_the_other_model_gives_the_other_rate():
    lengths, baseline = longer_answers()
    preferences = np.random.default_rng(4).random(NUM)
    here = length_controlled_win_rate(preferences.tolist(), lengths, baseline, PROMPTS).score
    there = length_controlled_win_rate((1 - preferences).tolist(), baseline, lengths, PROMPTS).score
    assert (there.value, there.low, there.high) == pytest.approx(
        (1 - here.value, 1 - here.high, 1 - here.low), abs=1e-6
    )


def test_the_interval_is_wider_than_that_of_the_predictions():
    # All predictions are equal without difficulties: an interval over them would have no width.
    lengths, baseline = longer_answers()
    preferences = (np.random.default_rng(5).random(NUM) < 0.6).astype(float).tolist()
    score = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS).score
    raw = win_rate(preferences, PROMPTS).score
    assert score.high - score.low > raw.high - raw.low
    assert "jackknife over 600 prompts" in score.method


def test_rows_of_a_prompt_count_as_one():
    lengths, baseline = longer_answers()
    preferences = np.random.default_rng(6).random(NUM).tolist()
    once = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS)
    thrice = length_controlled_win_rate(preferences * 3, lengths * 3, baseline * 3, PROMPTS * 3)
    assert thrice.theta == pytest.approx(once.theta, abs=1e-6)
    assert (thrice.score.low, thrice.score.high) == pytest.approx((once.score.low, once.score.high), abs=1e-6)
    assert (thrice.score.num_rows, thrice.score.num_clusters) == (3 * NUM, NUM)


def test_an_unscored_answer_is_not_fitted_and_its_instruction_is_predicted():
    lengths, baseline = [3.0, 1.0, 5.0, 2.0, 9.0], [2.0, 2.0, 2.0, 2.0, 2.0]
    difficulty = [0.0, 1.0, 0.0, 1.0, 4.0]
    found = length_controlled_win_rate([1.0, 0.0, 1.0, 1.0, None], lengths, baseline, range(5), difficulties=difficulty)
    expected = np.mean([1 / (1 + math.exp(-found.theta - found.psi_difficulty * g)) for g in difficulty])
    assert found.score.value == pytest.approx(expected)
    assert (found.score.num_rows, found.score.num_clusters) == (4, 4)


def test_equal_lengths_leave_the_raw_rate():
    found = length_controlled_win_rate([1.0] * 30 + [0.0] * 10, [7.0] * 40, [7.0] * 40, range(40))
    assert found.score.value == pytest.approx(0.75, abs=0.002)
    assert found.phi_length == 0
    assert "extrapolated" not in found.caution


def test_answers_that_are_always_longer_make_it_an_extrapolation():
    lengths, baseline = longer_answers()
    longer = [theirs + 10 + ours for ours, theirs in zip(lengths, baseline, strict=True)]
    preferences = np.random.default_rng(7).random(NUM).tolist()
    found = length_controlled_win_rate(preferences, longer, baseline, PROMPTS)
    assert "100% of the answers are longer than the baseline's, so equal length is extrapolated" in found.caution


def test_without_difficulties_the_rate_has_another_name_and_says_why():
    lengths, baseline = longer_answers()
    preferences = np.random.default_rng(8).random(NUM).tolist()
    alone = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS)
    known = length_controlled_win_rate(preferences, lengths, baseline, PROMPTS, difficulties=[1.0, 0.0] * (NUM // 2))
    assert (alone.score.name, known.score.name) == ("win_rate_at_equal_length", "length_controlled_win_rate")
    assert "one model alone" in alone.caution
    assert "one model alone" not in known.caution


def test_a_model_that_always_wins_has_a_finite_rate_and_an_honest_interval():
    lengths, baseline = longer_answers()
    found = length_controlled_win_rate([1.0] * 40, lengths[:40], baseline[:40], range(40))
    assert math.isfinite(found.theta)
    assert 0.9 < found.score.value < 1
    assert found.score.low < 0.95
    assert "as all 40 agree" in found.score.method


def test_too_few_prompts_have_no_rate():
    assert length_controlled_win_rate([1.0, None], [1.0, 2.0], [2.0, 1.0], ["a", "b"]) is None
    assert length_controlled_win_rate([], [], [], []) is None


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(DataError, match=r"must be as many as each other, got \[2, 1, 2\]"):
        length_controlled_win_rate([1.0, 0.0], [1.0], [1.0, 2.0], ["a", "b"])
    with pytest.raises(DataError, match="difficulty: value nan of row 1 is not finite"):
        length_controlled_win_rate([1.0, 0.0], [1.0, 2.0], [1.0, 2.0], ["a", "b"], difficulties=[0.0, math.nan])
