"""The smallest difference: textbook numbers, and what a simulated study of that size finds."""

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.stats.power import smallest_paired_difference, smallest_win_rate_difference


def test_about_two_point_eight_standard_errors():
    # 1.959964 + 0.841621 = 2.801585; half a standard deviation of 0.5 by root 805, a little less for the alternative.
    rough = 2.801585 * 0.5 / np.sqrt(805)
    assert smallest_win_rate_difference(805) == pytest.approx(rough, rel=0.01)
    assert smallest_win_rate_difference(805) < rough


@pytest.mark.parametrize(("num_prompts", "tie_share"), [(60, 0.0), (400, 0.0), (400, 0.4)])
def test_a_study_of_that_size_finds_it_four_times_in_five(num_prompts: int, tie_share: float):
    difference = smallest_win_rate_difference(num_prompts, tie_share=tie_share)
    win = (1 - tie_share) / 2 + difference
    rng = np.random.default_rng(0)
    counts = rng.multinomial(num_prompts, [win, tie_share, 1 - win - tie_share], size=20_000)
    # The score test: (wins - losses) by its deviation when both are equally likely.
    score = (counts[:, 0] - counts[:, 2]) / np.sqrt(num_prompts * (1 - tie_share))
    assert np.mean(np.abs(score) > 1.959964) == pytest.approx(0.8, abs=0.035)


def test_seeds_help_as_far_as_they_differ():
    one = smallest_win_rate_difference(200)
    assert smallest_win_rate_difference(200, rows_per_prompt=4) == one
    assert smallest_win_rate_difference(200, rows_per_prompt=4, correlation=0) == smallest_win_rate_difference(800)
    half = smallest_win_rate_difference(200, rows_per_prompt=4, correlation=0.5)
    assert smallest_win_rate_difference(800) < half < one


def test_with_five_prompts_nothing_can_be_shown():
    # All five won: 2 / 2^5 = 0.0625.
    assert smallest_win_rate_difference(5) is None
    assert 0.4 < smallest_win_rate_difference(6) <= 0.5
    assert smallest_win_rate_difference(10, tie_share=0.5) is None


def test_more_power_needs_more():
    assert smallest_win_rate_difference(100, power=0.9) > smallest_win_rate_difference(100)
    assert smallest_win_rate_difference(100, alpha=0.01) > smallest_win_rate_difference(100)
    assert smallest_win_rate_difference(400) < smallest_win_rate_difference(100)


def test_a_paired_difference_is_in_the_unit_of_its_deviation():
    assert smallest_paired_difference(49, standard_deviation=14) == pytest.approx(2 * 2.801585, rel=1e-6)
    assert smallest_paired_difference(49, standard_deviation=0) == 0


@pytest.mark.parametrize(
    "settings", [{"tie_share": 1.0}, {"correlation": 1.5}, {"rows_per_prompt": 0}, {"alpha": 0}, {"power": 0.01}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]):
    with pytest.raises(ConfigError, match="power:"):
        smallest_win_rate_difference(100, **settings)


def test_there_must_be_prompts_and_a_finite_deviation():
    with pytest.raises(ConfigError, match="num_prompts must be at least 1, got 0"):
        smallest_win_rate_difference(0)
    with pytest.raises(ConfigError, match="standard_deviation"):
        smallest_paired_difference(10, standard_deviation=-1)
