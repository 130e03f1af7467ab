"""Intervals of fitted rates: against what a mean's would be, and where a prior pulls."""

import math

import numpy as np
import pytest

from haloes.stats.penalised import PenalisedFit, fit_without_each, judged_score, rate_interval


def fit_of(won: int, lost: int, precision: float) -> PenalisedFit:
    """The fit of one log-odds to verdicts."""
    num = won + lost
    chance = won / num
    bent = np.array([[chance * (1 - chance)]])
    parts = [(np.array([chance - verdict]), bent) for verdict in [1.0] * won + [0.0] * lost]
    return fit_without_each(parts, num * bent + precision, np.array([[precision]]))


def test_the_variance_of_a_rate_without_a_prior_is_that_of_a_mean():
    variance = fit_of(30, 10, 0.0).variance(np.array([0.75 * 0.25]), np.zeros(40))
    assert variance == pytest.approx(0.75 * 0.25 / 39)


def test_a_prior_narrows_what_other_prompts_would_change_and_adds_what_it_pulls():
    slope = np.array([0.75 * 0.25])
    wide, narrow = (fit_of(30, 10, precision).variance(slope, np.zeros(40)) for precision in (0.001, 100.0))
    assert wide == pytest.approx(0.75 * 0.25 / 39, rel=0.01)
    # Verdicts hardly move what the prior holds: its own spread, 1 / 100, is what is left.
    assert narrow == pytest.approx(slope[0] ** 2 * 100 / (100 + 40 * slope[0]) ** 2, rel=0.1)


def test_what_a_mean_over_prompts_changes_without_one_counts_as_well():
    fit = PenalisedFit(np.zeros((4, 1)), np.eye(1), np.zeros((1, 1)))
    assert fit.variance(np.ones(1), np.array([0.1, -0.1, 0.2, -0.2])) == pytest.approx(0.75 * 0.1)


def test_the_interval_is_students_in_log_odds_and_stays_inside():
    low, high = rate_interval(0.9, 0.01, 4)
    half = 2.7764 * 0.1 / 0.09
    assert math.log(high / (1 - high)) == pytest.approx(math.log(9) + half, abs=1e-3)
    assert math.log(low / (1 - low)) == pytest.approx(math.log(9) - half, abs=1e-3)


def test_prompts_that_all_agree_have_wilsons_bound():
    score = judged_score(0.99, 1e-9, np.ones(20), num_prompts=20)
    assert score.low == pytest.approx(0.99 * 20 / (20 + 1.96**2), abs=1e-4)
    assert score.high > 0.99
    assert "as all 20 agree" in score.method
