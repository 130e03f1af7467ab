"""Calibration of rewards whose relation to the labels is known."""

import numpy as np
import pytest

from haloes.errors import DataError
from haloes.stats.calibration import calibration


def thumbs(scale: float, *, num: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=num)
    return reward, rng.random(num) < 1 / (1 + np.exp(-scale * reward))


def test_the_scale_is_found_and_calibrated_rewards_have_no_more_error_than_chance():
    reward, label = thumbs(2.0)
    found = calibration(reward, label, range(2000), draws=100)
    assert found.scale == pytest.approx(2, abs=0.2)
    assert found.expected_error < found.expected_error_by_chance < 0.05
    chance = 1 / (1 + np.exp(-2 * reward))
    assert found.brier.value == pytest.approx(np.mean(chance * (1 - chance)), abs=0.01)
    assert found.brier.low < found.brier.value < found.brier.high


def test_the_unit_of_the_reward_does_not_matter():
    reward, label = thumbs(1.0, num=300)
    here, there = (calibration(reward * unit, label, range(300), draws=30) for unit in (1.0, 1000.0))
    assert there.scale == pytest.approx(here.scale / 1000)
    assert there.brier.value == pytest.approx(here.brier.value)
    assert there.expected_error == pytest.approx(here.expected_error)


def test_a_shifted_reward_cannot_be_put_right_by_a_scale():
    reward, label = thumbs(2.0)
    found = calibration(reward + 2, label, range(2000), draws=50)
    assert found.expected_error > 3 * found.expected_error_by_chance


def test_rewards_that_rank_the_wrong_way_have_a_negative_scale():
    reward, label = thumbs(2.0)
    assert calibration(-reward, label, range(2000), draws=20).scale < -1.5


def test_bins_by_hand():
    # Two rewards of one size: sigmoid(s) fits 3 of 4, and sigmoid(-s) the mirrored 1 of 4, exactly.
    reward = [1.0] * 4 + [-1.0] * 4
    label = [True, True, True, False, True, False, False, False]
    found = calibration(reward, label, range(8), bins=2, draws=50)
    assert found.scale == pytest.approx(np.log(3), abs=0.01)
    assert [(b.desirable, b.num_rows) for b in found.bins] == [(0.25, 4), (0.75, 4)]
    assert [b.predicted for b in found.bins] == pytest.approx([0.25, 0.75], abs=1e-3)
    assert found.expected_error == pytest.approx(0, abs=1e-3)
    assert found.brier.value == pytest.approx(0.25 * 0.75, abs=1e-3)
    assert all(b.low < b.desirable < b.high for b in found.bins)


def test_equal_predictions_share_a_bin():
    # Rows sorted by label would fall into pure bins if the ties were split.
    found = calibration([0.0] * 40, [True] * 20 + [False] * 20, range(40), draws=20)
    assert [(b.predicted, b.desirable, b.num_rows) for b in found.bins] == [(0.5, 0.5, 40)]
    assert found.expected_error == 0
    assert found.brier.value == 0.25


def test_bins_hold_about_as_many_rows_each():
    reward, label = thumbs(1.0, num=1000)
    assert {b.num_rows for b in calibration(reward, label, range(1000), draws=20).bins} == {100}


def test_perfect_separation_has_a_finite_scale():
    found = calibration([1.0, 2.0, -1.0, -2.0] * 5, [True, True, False, False] * 5, range(20), draws=20)
    assert np.isfinite(found.scale)
    assert found.brier.value < 0.01


def test_one_prompt_says_nothing():
    assert calibration([1.0, 2.0], [True, False], ["p", "p"]) is None
    assert calibration([], [], []) is None


def test_faults_are_named():
    with pytest.raises(DataError, match="labels must be true or false"):
        calibration([1.0, 2.0], [2, 0], ["p", "q"])
    with pytest.raises(DataError, match="one a reward"):
        calibration([1.0, 2.0], [True], ["p", "q"])
    with pytest.raises(DataError, match="bins must be at least 1, got 0"):
        calibration([1.0, 2.0], [True, False], ["p", "q"], bins=0)
