"""
Shares among all members of a population of whom some were observed, by inverse probability weighting.

Who is observed counts for as many as are like it: 1 / P(observed), which is Horvitz and Thompson's estimator (J. Am.
Stat. Assoc. 47, 1952, 663-685), divided by the sum of the weights (Hajek 1971) and with an estimated P (Robins,
Rotnitzky and Zhao, J. Am. Stat. Assoc. 89, 1994, 846-866). It is right if what is measured decides, beside chance, who
is observed; nothing in the data can show that.

Shapes: N members, K features, C people.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haloes.results import Score
from haloes.stats.bootstrap import FEW_CLUSTERS, UPPER, Codes, Floats, normal_quantile, t_quantile
from haloes.stats.logistic import fit_logistic, sigmoid
from haloes.stats.rates import wilson_interval

_PRIOR_SD = 5.0
"""Of the coefficients of features with a spread of about 1: wide, and finite where a kind is never observed."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The chance with which each member is observed, as estimated from who is."""

    feature_NK: Floats
    observed_N: NDArray[np.bool_]
    chance_N: Floats
    weight_N: Floats
    """1 / P(observed) of the observed, with a mean of 1 before clipping; 0 of the others."""
    is_clipped_N: NDArray[np.bool_]


def observation(feature_NK: Floats, observed_N: NDArray[np.bool_], *, most: float) -> Observation:
    """
    Estimate by logistic regression with a ridge how likely each member is observed.

    Args:
        feature_NK: What is known of all members, one of the columns constant.
        observed_N: Who is observed; one at least.
        most: The largest weight, as a multiple of the mean weight: above it weights are clipped, for a few members who
            stand for very many make a result a matter of luck (Cole and Hernan, Am. J. Epidemiol. 168, 2008, 656-664).
    """
    ones = np.ones((1, len(observed_N)))
    [coefficient_K] = fit_logistic(feature_NK, observed_N.astype(np.float64), ones, prior_sd=_PRIOR_SD)
    chance_N = sigmoid(feature_NK @ coefficient_K)
    raw_N = np.where(observed_N, 1 / chance_N, 0.0)
    raw_N /= raw_N[observed_N].mean()
    return Observation(feature_NK, observed_N, chance_N, np.minimum(raw_N, most), raw_N > most)


def reweighted_share(found: Observation, outcome_N: Floats, codes_N: Codes, *, name: str, label: str) -> Score | None:
    """
    Compute the mean that an outcome between 0 and 1 would have over all members, observed or not.

    The interval is Wilson's of as many independent members as the variance is worth; the variance is that of the
    stacked estimating equations of the chance and the mean (Lunceford and Davidian, Stat. Med. 23, 2004, 2937-2960),
    summed over people. Clipping makes the variance smaller and the mean nearer to the unweighted one, which it does not
    know.

    Args:
        found: The chances of being observed.
        outcome_N: The outcome of each member; nan of those for whom it is not known.
        codes_N: Number of each member's person, from 0.
        name: What was measured, for the record.
        label: How a report calls the number.

    Returns:
        The score; None with fewer than two people whose outcomes are known.
    """
    known_N = found.observed_N & ~np.isnan(outcome_N)
    num_people = len(np.unique(codes_N[known_N]))
    if num_people < 2:  # noqa: PLR2004 - one person has no spread
        return None
    share, variance = weighted_mean(found, outcome_N, codes_N)
    variance *= num_people / (num_people - 1)
    z = normal_quantile(UPPER)
    adjust = (z / t_quantile(UPPER, num_people - 1)) ** 2
    # Where all outcomes are equal no spread can be seen, and each person counts as one.
    trials = adjust * (num_people if variance == 0 else min(float(known_N.sum()), share * (1 - share) / variance))
    low, high = wilson_interval(share * trials, trials, z=z)
    few = f"; fewer than {FEW_CLUSTERS} people" if num_people < FEW_CLUSTERS else ""
    return Score(
        name=name,
        value=share,
        low=low,
        high=high,
        variant="feedback",
        num_rows=int(known_N.sum()),
        num_clusters=num_people,
        method=f"inverse probability weighting, {int(known_N.sum())} answers worth {trials:.1f} over {num_people} "
        f"people{few}",
        label=label,
    )


def weighted_mean(found: Observation, outcome_N: Floats, codes_N: Codes) -> tuple[float, float]:
    """Return the weighted mean of an outcome, and its variance; arguments as in `reweighted_share`."""
    known_N = found.observed_N & ~np.isnan(outcome_N)
    weight_N = np.where(known_N, found.weight_N, 0.0)
    mean = float(weight_N @ np.where(known_N, outcome_N, 0.0) / weight_N.sum())
    error_N = weight_N * np.where(known_N, outcome_N - mean, 0.0)
    influence_C = np.bincount(codes_N, weights=error_N + _through_chance(found, error_N)) / weight_N.sum()
    return mean, float(influence_C @ influence_C)


def _through_chance(found: Observation, error_N: Floats) -> Floats:
    """Return how each member moves the weighted sum of errors through the estimated chance."""
    chance_N, feature_NK = found.chance_N, found.feature_NK
    # A weight 1 / p falls by (1 - p) / p for each unit of the linear part; a clipped one stays.
    moves_N = np.where(found.is_clipped_N, 0.0, error_N * (1 - chance_N))
    information_KK = (feature_NK * (chance_N * (1 - chance_N))[:, None]).T @ feature_NK
    information_KK += np.eye(feature_NK.shape[1]) / _PRIOR_SD**2
    along_K = np.linalg.solve(information_KK, moves_N @ feature_NK)
    return np.asarray(-(found.observed_N - chance_N) * (feature_NK @ along_K), dtype=np.float64)
