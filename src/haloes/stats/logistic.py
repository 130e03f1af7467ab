"""Logistic regression on shares, fitted for many bootstrap draws at once: what several numbers refit in each draw."""

import numpy as np

from haloes.stats.bootstrap import Floats

# Shapes: D draws, N rows, K coefficients.

_STEPS = 100
_HALVINGS = 30
_SMALL = 1e-9
_LAST_STEP = 1e-6
"""Newton's steps shrink quadratically: after one this short the rest is rounding."""


def fit_logistic(
    features: Floats, shares: Floats, weight_DN: Floats, *, prior_sd: float, start_K: Floats | None = None
) -> Floats:
    """
    Fit the coefficients b of each draw by Newton's method with step halving; each draw is a fit of its own.

    They minimise

        sum_n weight_n * cross-entropy(share_n, sigmoid(features_n . b)) + sum_k b_k^2 / (2 prior_sd^2)

    The normal prior keeps the coefficients finite where the rows are separable;
    there is no intercept but the one that stands among the features.

    Args:
        features: (N, K), or (D, N, K) where they differ between the draws.
        shares: (N,) or (D, N), each in [0, 1].
        weight_DN: how much each row counts in each draw; zero leaves it out.
        prior_sd: standard deviation of the prior of every coefficient, around zero.
        start_K: where to begin, such as the fit to all rows.

    Returns:
        The coefficients, (D, K).
    """
    num_draws, num = weight_DN.shape[0], features.shape[-1]
    precision = 1 / prior_sd**2
    transposed = np.swapaxes(features, -1, -2)
    coefficient_DK = np.tile(np.zeros(num) if start_K is None else start_K, (num_draws, 1))
    chance_DN, loss_D = _predicted(features, shares, weight_DN, coefficient_DK, precision)
    for _ in range(_STEPS):
        error_DN = weight_DN * (chance_DN - shares)
        gradient_DK = (transposed @ error_DN[..., None])[..., 0] + precision * coefficient_DK
        # The Hessian of each draw: X' diag(w p (1 - p)) X plus the prior's precision, which makes it invertible.
        curved_DKN = transposed * (weight_DN * chance_DN * (1 - chance_DN))[:, None, :]
        curvature_DKK = curved_DKN @ features + precision * np.eye(num)
        step_DK = np.linalg.solve(curvature_DKK, gradient_DK[..., None])[..., 0]
        # Halving only where the step is too long keeps the draws independent of each other.
        for _ in range(_HALVINGS):
            tried_DK = coefficient_DK - step_DK
            chance_DN, tried_D = _predicted(features, shares, weight_DN, tried_DK, precision)
            worse_D = tried_D > loss_D + _SMALL * np.abs(loss_D)
            if not worse_D.any():
                break
            step_DK[worse_D] /= 2
        coefficient_DK, loss_D = tried_DK, tried_D
        if np.abs(step_DK).max(initial=0.0) < _LAST_STEP:
            break
    return coefficient_DK


def sigmoid(x: Floats) -> Floats:
    """Compute 1 / (1 + exp(-x)) without overflow."""
    # Only exponentials of negative numbers, which cannot overflow.
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1 + small), dtype=np.float64)


def _predicted(
    features: Floats, shares: Floats, weight_DN: Floats, coefficient_DK: Floats, precision: float
) -> tuple[Floats, Floats]:
    """Return the probability of each row, and the loss of each draw."""
    linear_DN = (features @ coefficient_DK[..., None])[..., 0]
    small_DN = np.exp(-np.abs(linear_DN))
    # -share log(p) - (1 - share) log(1 - p) is log(1 + exp(x)) - share x.
    entropy_DN = np.maximum(linear_DN, 0) + np.log(1 + small_DN) - shares * linear_DN
    penalty_D = precision / 2 * (coefficient_DK**2).sum(axis=1)
    chance_DN = np.where(linear_DN >= 0, 1.0, small_DN) / (1 + small_DN)
    return chance_DN, (weight_DN * entropy_DN).sum(axis=1) + penalty_D
