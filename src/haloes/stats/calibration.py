"""
Calibration on held-out thumbs: can the implied reward be read as a probability?

The implied reward has its own scale, so a single number is fitted first: P(desirable) = sigmoid(scale * reward). What
is left is the shape, not the scale.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haloes.errors import DataError
from haloes.results import Calibration, Reliability, ReliabilityBin, Score
from haloes.stats.bootstrap import DRAWS, UPPER, Codes, Floats, codes_for, finite, normal_quantile
from haloes.stats.logistic import fit_logistic, sigmoid
from haloes.stats.mean_spread import mean_spread
from haloes.stats.penalised import rate_interval
from haloes.stats.rates import wilson_interval

# Shapes: N rows, B bins, D bootstrap draws or sets of labels, 1 the one coefficient that is fitted.

BINS = 10
_PRIOR_SD = 100.0
"""Prior standard deviation of the scale, in units of 1 / (root mean square reward): finite for separable classes."""
_IMAGINED = 0.1
"""The part of a row that is imagined at both ends, as in `bounded_mean`."""
_SMALL = 1e-3


def reliability(
    chance_N: Floats, label_N: Floats, *, bins: int = BINS, draws: int = DRAWS, seed: int = 0
) -> Reliability:
    """
    Compare predicted probabilities with labels, in bins of about equally many rows; equal predictions share a bin.

    Args:
        chance_N: predicted probability of each row, in [0, 1].
        label_N: 1 for desirable rows, 0 for the others.
        bins: how many bins, at most.
        draws: number of perfectly calibrated models that the error by chance is taken from.
        seed: seed of those.
    """
    bin_N = _bin_numbers(chance_N, bins)
    return Reliability(
        expected_error=float(_expected_errors(chance_N, label_N[None], bin_N)[0]),
        expected_error_by_chance=_error_by_chance(chance_N, bin_N, draws=draws, seed=seed),
        bins=_reliability(chance_N, label_N, bin_N),
    )


def calibration(
    rewards: ArrayLike,
    labels: ArrayLike,
    prompts: Sequence[Hashable],
    *,
    bins: int = BINS,
    variant: str = "after",
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Calibration | None:
    """
    Fit the scale, then measure how far predicted probabilities and shares of desirable rows are apart.

    The scale is fitted to the rows that are measured; one number can hide little. The Brier score's interval counts
    prompts as independent and knows that the scale was fitted. Bins hold about equally many rows; equal predictions
    share a bin.

    Args:
        rewards: the implied reward of each row, on any scale.
        labels: True for desirable rows.
        prompts: the prompt of each row.
        bins: how many bins, at most.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        draws: number of models that the error by chance is taken from.
        seed: seed of the draws.

    Returns:
        The calibration; None with fewer than two prompts.

    Raises:
        DataError: the lengths differ, a reward is not finite, a label is neither true nor false, or bins is below 1.
    """
    reward_N, label_N = finite(rewards, "calibration"), finite(labels, "calibration: label")
    codes_N = codes_for(reward_N, prompts, "calibration")
    if label_N.shape != reward_N.shape or not np.isin(label_N, [0, 1]).all():
        raise DataError("calibration: labels must be true or false, one a reward")
    if bins < 1:
        raise DataError(f"calibration: bins must be at least 1, got {bins}")
    num = int(codes_N.max(initial=-1)) + 1
    if num < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    # In units of the rewards' own size, so that the prior means the same on any scale.
    size = float(np.sqrt((reward_N**2).mean())) or 1.0
    scaled_N1 = (reward_N / size)[:, None]
    scale_1 = fit_logistic(scaled_N1, label_N, np.ones((1, len(label_N))), prior_sd=_PRIOR_SD)[0]
    chance_N = sigmoid(scaled_N1 @ scale_1)
    low, high = _brier_interval(scaled_N1[:, 0], label_N, chance_N, codes_N)
    apart = reliability(chance_N, label_N, bins=bins, draws=draws, seed=seed)
    return Calibration(
        scale=float(scale_1[0]) / size,
        brier=Score(
            name="brier",
            value=float(((chance_N - label_N) ** 2).mean()),
            low=low,
            high=high,
            variant=variant,
            num_rows=len(label_N),
            num_clusters=num,
            method=f"t interval of log-odds over {num} prompts, the scale fitted",
            label=label,
        ),
        expected_error=apart.expected_error,
        expected_error_by_chance=apart.expected_error_by_chance,
        bins=apart.bins,
    )


def _brier_interval(scaled_N: Floats, label_N: Floats, chance_N: Floats, codes_N: Codes) -> tuple[float, float]:
    """
    Return the interval of the mean squared error, in log-odds, with what each row moves through the fitted scale.

    Resampling prompts covers 77 % of ten sure predictions: a sample without a grave error knows of none. So a tenth of
    a row is imagined, half of it with an error of 1 and half with none.
    """
    error_N, bent_N = chance_N - label_N, chance_N * (1 - chance_N)
    square_N = error_N**2
    value = float(square_N.mean())
    by_scale = float((2 * error_N * bent_N * scaled_N).mean())
    curvature = float((bent_N * scaled_N**2).sum()) + _PRIOR_SD**-2
    moved_N = square_N - len(square_N) * by_scale * error_N * scaled_N / curvature
    spread = mean_spread(moved_N, codes_N)
    # As many independent rows as these are worth.
    worth = len(moved_N) if spread.standard_error == 0 else float(moved_N.var()) / spread.standard_error**2
    # No rows show that errors never happen.
    centre = min(max(value, _SMALL / len(square_N)), 1 - _SMALL / len(square_N))
    imagined = _IMAGINED * ((1 - centre) ** 2 + centre**2) / worth**2
    low, high = rate_interval(centre, spread.standard_error**2 + imagined, spread.degrees_of_freedom)
    return min(low, value), max(high, value)


def _bin_numbers(chance_N: Floats, bins: int) -> NDArray[np.intp]:
    # Many equal predictions make several quantiles one, and then there are fewer bins; their numbers are closed up.
    edges = np.unique(np.quantile(chance_N, np.arange(1, bins) / bins))
    return np.unique(np.searchsorted(edges, chance_N, side="left"), return_inverse=True)[1]


def _expected_errors(chance_N: Floats, label_DN: Floats, bin_N: NDArray[np.intp]) -> Floats:
    """Return for each set of labels the sum over bins of |sum of labels - sum of predictions| / number of rows."""
    # A row of the identity marks the bin of a row, so that one product sums by bin for all sets of labels.
    member_NB = np.eye(int(bin_N.max()) + 1)[bin_N]
    return np.asarray(np.abs((label_DN - chance_N) @ member_NB).sum(axis=1) / len(chance_N), dtype=np.float64)


def _error_by_chance(chance_N: Floats, bin_N: NDArray[np.intp], *, draws: int, seed: int) -> float:
    """Return the 95 % point of the error when labels are drawn from the predictions (Broecker and Smith, 2007)."""
    rng = np.random.default_rng(seed)
    # So many sets of labels at a time that memory does not grow with rows x draws.
    at_once = max(1, 2_000_000 // len(chance_N))
    errors = []
    for start in range(0, draws, at_once):
        is_desirable_DN = rng.random((min(at_once, draws - start), len(chance_N))) < chance_N
        errors.append(_expected_errors(chance_N, is_desirable_DN.astype(np.float64), bin_N))
    return float(np.quantile(np.concatenate(errors), 0.95))


def _reliability(chance_N: Floats, label_N: Floats, bin_N: NDArray[np.intp]) -> tuple[ReliabilityBin, ...]:
    z = normal_quantile(UPPER)
    filled = []
    for number in range(int(bin_N.max()) + 1):
        inside = bin_N == number
        num, desirable = int(inside.sum()), float(label_N[inside].sum())
        low, high = wilson_interval(desirable, num, z=z)
        filled.append(
            ReliabilityBin(
                predicted=float(chance_N[inside].mean()),
                desirable=desirable / num,
                low=low,
                high=high,
                num_rows=num,
            )
        )
    return tuple(filled)
