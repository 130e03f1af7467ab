"""Counts from the index of votes; what a whole file holds is tested in test_examine."""

import numpy as np

from haloes.feedback.doctor.counts import quantile


def test_a_quantile_is_a_value_of_the_data() -> None:
    # Half of 1, 2, 10, 20 do not exceed 2; 95 % of the four are reached at the last.
    assert quantile(np.array([10, 1, 20, 2]), 0.5) == 2
    assert quantile(np.array([10, 1, 20, 2]), 0.95) == 20
    assert quantile(np.array([7]), 0.95) == 7
