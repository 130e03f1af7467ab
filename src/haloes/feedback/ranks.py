"""Numbers that rest on the order of values only: quantiles that occur in the data, and the AUC."""

import numpy as np
from numpy.typing import NDArray


def auc(value_N: NDArray[np.generic], desirable_N: NDArray[np.bool_]) -> float | None:
    """
    The probability that a desirable example has the higher value of the two, a tie counting half; None for one label.

    Exact, from the average ranks (Mann and Whitney, 1947): with the rank sum R of the n desirable examples among m
    others, AUC = (R - n (n + 1) / 2) / (n m).
    """
    n = int(np.count_nonzero(desirable_N))
    m = len(desirable_N) - n
    if n == 0 or m == 0:
        return None
    _, place_N, count_V = np.unique(value_N, return_inverse=True, return_counts=True)
    rank_V = np.cumsum(count_V) - (count_V - 1) / 2
    rank_sum = float(rank_V[place_N[desirable_N]].sum())
    return (rank_sum - n * (n + 1) / 2) / (n * m)


def auc_noise(num_desirable: int, num_undesirable: int) -> float:
    """The standard deviation of the AUC of a value that has nothing to do with the label (without ties)."""
    return float(np.sqrt((num_desirable + num_undesirable + 1) / (12 * num_desirable * num_undesirable)))


def quantile(value_N: NDArray[np.integer], share: float) -> int:
    """The smallest value in the data that at least this share of the values do not exceed."""
    return int(np.quantile(value_N, share, method="inverted_cdf"))
