"""
Intervals of rates that a penalised likelihood gives: each prompt is left out once, and the priors' pull is counted.

Two things make such a rate uncertain. Other prompts would have given other coefficients and another mean: the jackknife
over prompts says how much, whatever the model got wrong (one Newton step from the fit in place of refitting). And the
priors pull the coefficients: A^-1 P A^-1, with the curvature A of the log-posterior and the priors' precision P, is the
squared bias that the priors themselves expect (Nychka, J. Am. Stat. Assoc. 83, 1988, 1134-1143), small wherever the
data say more than they do. The interval is Student's on the scale of log-odds, where such a rate is nearly symmetric.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from haloes.results import Score
from haloes.stats.bootstrap import UPPER, Floats, t_quantile
from haloes.stats.bounded_mean import unanimous_interval
from haloes.stats.logistic import sigmoid

# Shapes: C prompts, K coefficients, N rows.


@dataclass(frozen=True, slots=True)
class PenalisedFit:
    """The maximum of a log-posterior, as far as the uncertainty of what is computed from it goes."""

    change_CK: Floats
    """How the coefficients change where a prompt is left out."""
    inverse_KK: Floats
    """Inverse of the curvature of the negative log-posterior."""
    precision_KK: Floats
    """The priors' part of that curvature."""

    def variance(self, slope_K: Floats, own_C: Floats) -> float:
        """
        Return the variance of a smooth function of the coefficients and the prompts.

        Args:
            slope_K: its derivative by each coefficient.
            own_C: how it changes where a prompt is left out and the coefficients stay: that of a mean over prompts.
        """
        num = len(own_C)
        sampled = (num - 1) / num * float(((self.change_CK @ slope_K + own_C) ** 2).sum())
        pulled_K = self.inverse_KK @ slope_K
        return sampled + float(pulled_K @ self.precision_KK @ pulled_K)


def fit_without_each(parts: Iterable[tuple[Floats, Floats]], total_KK: Floats, precision_KK: Floats) -> PenalisedFit:
    """
    Describe a fit by its prompts.

    Args:
        parts: of each prompt, the gradient of its negative log-likelihood (K,) and that likelihood's curvature (K, K).
        total_KK: curvature of the whole negative log-posterior.
        precision_KK: the priors' part of it.
    """
    changes = [np.linalg.solve(total_KK - curvature_KK, gradient_K) for gradient_K, curvature_KK in parts]
    return PenalisedFit(np.array(changes), np.asarray(np.linalg.inv(total_KK), dtype=np.float64), precision_KK)


def rate_interval(rate: float, variance: float, degrees_of_freedom: float) -> tuple[float, float]:
    """
    Return the interval of a rate between 0 and 1.

    Args:
        rate: the rate.
        variance: its variance (see `PenalisedFit.variance`).
        degrees_of_freedom: of that variance: one fewer than prompts.
    """
    odds = np.log(rate) - np.log1p(-rate)
    half = t_quantile(UPPER, degrees_of_freedom) * np.sqrt(variance) / (rate * (1 - rate))
    low, high = sigmoid(np.array([odds - half, odds + half]))
    return float(low), float(high)


def judged_score(rate: float, variance: float, share_N: Floats, *, num_prompts: int) -> Score:
    """
    Return the score of a rate that was fitted to preferences; its name, variant and label are the caller's to say.

    Args:
        rate: the rate.
        variance: its variance (see `PenalisedFit.variance`).
        share_N: the preferences that were fitted.
        num_prompts: how many prompts they are of.
    """
    # Where all prompts agree none of them, left out, changes anything.
    if np.ptp(share_N) == 0:
        low, high = unanimous_interval(rate, num_prompts)
        method = f"Wilson's bound on the prompts that may differ, as all {num_prompts} agree"
    else:
        low, high = rate_interval(rate, variance, num_prompts - 1)
        method = f"jackknife over {num_prompts} prompts with the priors' pull, in log-odds"
    return Score(
        name="rate",
        value=rate,
        low=low,
        high=high,
        variant="",
        num_rows=len(share_N),
        num_clusters=num_prompts,
        method=method,
    )
