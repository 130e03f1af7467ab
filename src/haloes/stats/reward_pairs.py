"""
Quality of a reward model on held-out pairs: accuracy, calibration, and its preference for length.

Shapes: N pairs, D bootstrap draws, C prompts. A pair's margin is the reward of its chosen answer minus that of its
rejected one; by Bradley and Terry (1952) the model says that the chosen one is better with sigmoid(margin).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from haloes.errors import DataError
from haloes.results import Reliability, Score
from haloes.stats.auc_interval import average_ranks
from haloes.stats.bootstrap import (
    DRAWS,
    UPPER,
    Codes,
    Floats,
    bootstrap_method,
    cluster_weights,
    codes_for,
    expanded_interval,
    finite,
    t_quantile,
)
from haloes.stats.bounded_mean import bounded_mean_with_interval
from haloes.stats.calibration import reliability
from haloes.stats.logistic import fit_logistic, sigmoid
from haloes.stats.mean_spread import mean_spread
from haloes.stats.means import mean_with_interval

_PRIOR_SD = 100.0
"""Prior standard deviation of the slope, in units of 1 / (root mean square margin): finite if every pair is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardPairs:
    """Held-out pairs as a reward model sees them, one entry a pair."""

    chosen: ArrayLike
    """Rewards of the chosen answers."""
    rejected: ArrayLike
    chosen_length: ArrayLike
    """Lengths of the chosen answers, in tokens."""
    rejected_length: ArrayLike
    prompts: Sequence[Hashable]
    """The prompt of each pair; pairs of one prompt are not independent."""


def pair_accuracy(pairs: RewardPairs, *, draws: int = DRAWS, seed: int = 0) -> Score | None:
    """
    Compute how often the chosen answer has the higher reward, ties counting half; None with fewer than two prompts.

    The interval resamples prompts with all their pairs; see `bounded_mean_with_interval`.
    """
    return bounded_mean_with_interval(
        _right(_margins(pairs)), pairs.prompts, name="pair_accuracy", variant="after", draws=draws, seed=seed
    )


def length_bias(pairs: RewardPairs, *, draws: int = DRAWS, seed: int = 0) -> list[Score]:
    """
    Measure how far the rewards follow length; what cannot be measured (one prompt, or answers all as long) is left out.

    - `longer_chosen`: how often people chose the longer answer: what a model that looks at nothing else would get;
    - `pair_accuracy_longer`, `pair_accuracy_shorter`: the accuracy on the pairs whose chosen answer is the longer
      (shorter) one; a model that prefers length is far better on the former;
    - `reward_length`: the rank correlation (Spearman) of reward and length over all answers.
    """
    right_N = _right(_margins(pairs))
    longer_N = finite(pairs.chosen_length, "length") - finite(pairs.rejected_length, "length")
    scores = [
        bounded_mean_with_interval(
            _right(longer_N), pairs.prompts, name="longer_chosen", variant="after", draws=draws, seed=seed
        )
    ]
    # Pairs of equal length belong to neither side.
    for name, rows in (("pair_accuracy_longer", longer_N > 0), ("pair_accuracy_shorter", longer_N < 0)):
        keys = [key for key, row in zip(pairs.prompts, rows.tolist(), strict=True) if row]
        scores.append(
            bounded_mean_with_interval(right_N[rows], keys, name=name, variant="after", draws=draws, seed=seed)
            if keys
            else None
        )
    rewards = np.concatenate([finite(pairs.chosen, "reward"), finite(pairs.rejected, "reward")])
    lengths = np.concatenate([finite(pairs.chosen_length, "length"), finite(pairs.rejected_length, "length")])
    scores.append(
        rank_correlation(rewards, lengths, [*pairs.prompts] * 2, name="reward_length", draws=draws, seed=seed)
    )
    return [score for score in scores if score is not None]


def rank_correlation(
    one: ArrayLike,
    other: ArrayLike,
    keys: Sequence[Hashable],
    *,
    name: str,
    variant: str = "after",
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute Spearman's rank correlation with an interval from resampling prompts; the ranks are those among all rows.

    None with fewer than two prompts, and where one of the two is the same throughout. Raises DataError where the
    lengths differ or a number is not finite.
    """
    one_N, other_N = finite(one, name), finite(other, name)
    if one_N.shape != other_N.shape:
        raise DataError(f"{name}: {len(one_N)} and {len(other_N)} numbers; they must pair up")
    codes_N = codes_for(one_N, keys, name)
    num = int(codes_N.max(initial=-1)) + 1
    if num < 2 or np.ptp(one_N) == 0 or np.ptp(other_N) == 0:  # noqa: PLR2004 - one prompt has no spread
        return None
    ranks = np.stack([average_ranks(one_N), average_ranks(other_N)])
    x_N, y_N = ranks - ranks.mean(axis=1, keepdims=True)
    # Six sums a prompt are all that a correlation needs: a draw weighs them, and no row is looked at again.
    sums_6C = np.stack([_by_prompt(v, codes_N) for v in (np.ones_like(x_N), x_N, y_N, x_N * y_N, x_N**2, y_N**2)])
    drawn = [_correlations(weight_DC @ sums_6C.T) for weight_DC in cluster_weights(num, draws=draws, seed=seed)]
    drawn_D = np.concatenate(drawn)
    low, high = expanded_interval(drawn_D[np.isfinite(drawn_D)], num)
    return Score(
        name=name,
        value=float(_correlations(sums_6C.sum(axis=1)[None])[0]),
        low=low,
        high=high,
        variant=variant,
        num_rows=len(one_N),
        num_clusters=num,
        method=f"Spearman, expanded {bootstrap_method(num, draws)}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCalibration:
    """The calibration of sigmoid(margin) as the chance that the model is right."""

    slope: Score
    """Factor of the margins that would make them fit: 1 is calibrated, below 1 too sure, above 1 not enough."""
    brier: Score
    """Mean squared error of the probabilities: 0 is perfect, 0.25 is saying one half throughout."""
    reliability: Reliability
    """Probability that the model gives the answer it prefers, against how often that is the chosen one."""


def pair_calibration(pairs: RewardPairs, *, draws: int = DRAWS, seed: int = 0) -> PairCalibration | None:
    """Measure the calibration of sigmoid(margin), and the slope that mends it; None with fewer than two prompts."""
    margin_N = _margins(pairs)
    codes_N = codes_for(margin_N, pairs.prompts, "calibration")
    num = int(codes_N.max(initial=-1)) + 1
    if num < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    # In units of the margins' own size, so that the prior means the same on any scale.
    size = float(np.sqrt((margin_N**2).mean())) or 1.0
    scaled_N1, ones_N = (margin_N / size)[:, None], np.ones(len(margin_N))
    slope_1 = fit_logistic(scaled_N1, ones_N, ones_N[None], prior_sd=_PRIOR_SD)[0]
    low, high = _slope_interval(scaled_N1[:, 0], codes_N, float(slope_1[0]))
    brier = mean_with_interval(
        (1 - sigmoid(margin_N)) ** 2, pairs.prompts, name="pair_brier", variant="after", bounds=(0, 1)
    )
    if brier is None:
        return None
    # Of two equal answers neither is preferred: every other such pair counts as right.
    right_N = np.where(margin_N == 0, np.arange(len(margin_N)) % 2, margin_N > 0)
    return PairCalibration(
        slope=Score(
            name="calibration_slope",
            value=float(slope_1[0]) / size,
            low=low / size,
            high=high / size,
            variant="after",
            num_rows=len(margin_N),
            num_clusters=num,
            method=f"maximum likelihood; slopes whose score is within its t interval, {num} prompts",
        ),
        brier=brier,
        reliability=reliability(sigmoid(np.abs(margin_N)), right_N.astype(np.float64), draws=draws, seed=seed),
    )


def _slope_interval(scaled_N: Floats, codes_N: Codes, slope: float) -> tuple[float, float]:
    """
    Return the slopes at which the log-likelihood's gradient, a mean over rows, may be zero by its t interval.

    Resampling prompts covers 86 % of ten pairs: a slope is skewed, and its gradient at the true slope is not.
    """
    from scipy.optimize import brentq

    def off(at: float) -> float:
        """Return how far the gradient is from zero, in half-widths of its interval."""
        gradient_N = scaled_N * sigmoid(-at * scaled_N) - at / (_PRIOR_SD**2 * len(scaled_N))
        spread = mean_spread(gradient_N, codes_N)
        chance_N = sigmoid(at * scaled_N)
        # Where every pair is right the rows' spread says nothing, and that which such chances have stands in.
        by_chance = float(np.sqrt((scaled_N**2 * chance_N * (1 - chance_N)).sum())) / len(scaled_N)
        half = t_quantile(UPPER, spread.degrees_of_freedom) * max(spread.standard_error, by_chance)
        return abs(float(gradient_N.mean())) - half

    ends = []
    for sign in (-1, 1):
        # The priors keep the slope finite, and so there is an end on either side.
        reach = next((reach for reach in 2.0 ** np.arange(-8, 12) if off(slope + sign * reach) > 0), 2.0**12)
        end = slope + sign * reach
        ends.append(float(brentq(off, slope, end)) if off(slope) < 0 < off(end) else end)
    return min(ends), max(ends)


def _margins(pairs: RewardPairs) -> Floats:
    chosen_N, rejected_N = finite(pairs.chosen, "reward"), finite(pairs.rejected, "reward")
    if chosen_N.shape != rejected_N.shape:
        raise DataError(f"{len(chosen_N)} rewards of chosen and {len(rejected_N)} of rejected answers do not pair up")
    return chosen_N - rejected_N


def _right(margin_N: Floats) -> Floats:
    """Return 1 above zero, 0 below, one half at zero."""
    return np.asarray((np.sign(margin_N) + 1) / 2, dtype=np.float64)


def _by_prompt(value_N: Floats, codes_N: Codes) -> Floats:
    return np.bincount(codes_N, weights=value_N).astype(np.float64)


def _correlations(sums_D6: Floats) -> Floats:
    """Compute Pearson's correlation from sums of 1, x, y, x y, x^2 and y^2; NaN where there is none."""
    n, x, y, xy, xx, yy = sums_D6.T
    spread = (xx - x * x / n) * (yy - y * y / n)
    correlation_D: Floats = np.full(len(n), np.nan)
    np.divide(xy - x * y / n, np.sqrt(np.maximum(spread, 0)), out=correlation_D, where=spread > 0)
    return correlation_D
