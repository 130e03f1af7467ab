"""
The length-controlled win rate: what the win rate would be if both answers were equally long.

The form is AlpacaEval 2's (Dubois et al., 2024, https://arxiv.org/abs/2404.04475): with lengths in characters and the
difficulty g of an instruction, where it is known,

    logit P(model preferred) = theta + phi * tanh((baseline length - length) / sd) + psi * g

so that phi is negative where the judge prefers longer answers, and the rate is the mean of sigmoid(theta + psi * g).
AlpacaEval chooses an L1 penalty by cross-validation and adds the judgements of two reference models as a prior; both
need its own data. Here a wide normal prior on the coefficients keeps them finite, and nothing else is added: with its
difficulties it is 1.5 points from AlpacaEval's on average. Without difficulties it is another number: on published
models 6.7 points above on average, 25.6 at most, for easy instructions are also those whose answers are about equally
long. Several systems on the same prompts tell which are easy: see `shared_difficulty`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from haloes.errors import DataError
from haloes.evaluation_results import LengthControlled
from haloes.results import Score
from haloes.stats.bootstrap import (
    DRAWS,
    Codes,
    Floats,
    bootstrap_method,
    cluster_weights,
    codes_for,
    expanded_interval,
    finite,
)
from haloes.stats.bounded_mean import unanimous_interval, unit_interval
from haloes.stats.logistic import fit_logistic, sigmoid
from haloes.stats.win_rate import Preferences

# Shapes: N comparisons, C prompts, D bootstrap draws, K coefficients.

PRIOR_SD = 5.0
"""Prior standard deviation of the coefficients: those that AlpacaEval published lie between -4.2 and 2, so that only
separable rows feel it."""
_ONE_SIDED = 0.05
_CHUNK = 400_000
"""Draws x rows held at a time."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of the regression: one without a preference is predicted, as AlpacaEval does, but not fitted."""

    share_N: Floats
    is_scored_N: Floats
    shorter_by_N: Floats
    difficulty_N: Floats | None
    codes_N: Codes
    per_prompt_N: Floats
    """1 / rows of the prompt, so that each prompt counts once."""


def length_controlled_win_rate(
    preferences: Preferences,
    lengths: Sequence[float],
    baseline_lengths: Sequence[float],
    prompts: Sequence[Hashable],
    *,
    difficulties: Sequence[float] | None = None,
    name: str = "length_controlled_win_rate",
    variant: str = "after",
    label: str = "",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> LengthControlled | None:
    """
    Compute the win rate at equal length, with an interval that resamples prompts and refits in each draw.

    Args:
        preferences: in [0, 1] for the model's answer, ties 0.5, None where a comparison could not be scored.
        lengths: characters of the model's answers.
        baseline_lengths: characters of the answers they are compared with.
        prompts: the prompt of each comparison.
        difficulties: difficulty of each comparison's instruction, such as AlpacaEval's; None where not known.
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        level: coverage of the interval.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The score and the coefficients; None with fewer than two scored prompts.

    Raises:
        DataError: the lengths differ, a preference is not in [0, 1], or another number is not finite.
    """
    rows = _rows(preferences, lengths, baseline_lengths, prompts, difficulties=difficulties, name=name)
    num = int(rows.codes_N.max(initial=-1)) + 1
    num_scored = len(np.unique(rows.codes_N[rows.is_scored_N > 0]))
    if num_scored < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    rates, coefficients = _fitted(rows, np.ones((1, num)), start_K=None)
    value = float(rates[0])
    rate_D = _rate_draws(rows, coefficients[0], draws=draws, seed=seed)
    share_N = rows.share_N[rows.is_scored_N > 0]
    low, high, method = refitted_interval(value, rate_D, share_N, num_prompts=num_scored, draws=draws, level=level)
    score = Score(
        name=name,
        value=value,
        low=low,
        high=high,
        level=level,
        variant=variant,
        num_rows=int(rows.is_scored_N.sum()),
        num_clusters=num_scored,
        method=method + _extrapolation(rows),
        label=label,
    )
    theta, phi, *psi = coefficients[0].tolist()
    return LengthControlled(score=score, theta=theta, phi_length=phi, psi_difficulty=psi[0] if psi else None)


def refitted_interval(
    value: float, rate_D: Floats, share_N: Floats, *, num_prompts: int, draws: int, level: float
) -> tuple[float, float, str]:
    """
    Return the interval of a rate that was fitted again in each bootstrap draw, low and high, and its method in words.

    Args:
        value: the rate.
        rate_D: the rate of each draw that has one.
        share_N: the preferences that were fitted.
        num_prompts: how many prompts they are of.
        draws: how many draws were made.
        level: nominal coverage of the interval.
    """
    # Where all prompts agree every draw is fitted to the same preferences, and the spread of the fits says nothing.
    if np.ptp(share_N) == 0:
        method = f"Wilson's bound on the prompts that may differ, as all {num_prompts} agree"
        return *unanimous_interval(value, num_prompts, level), method
    method = f"expanded {bootstrap_method(num_prompts, draws)}, refitted in each"
    return *expanded_interval(rate_D, level, num_prompts), method


def _rows(
    preferences: Preferences,
    lengths: Sequence[float],
    baseline_lengths: Sequence[float],
    prompts: Sequence[Hashable],
    *,
    difficulties: Sequence[float] | None,
    name: str,
) -> _Rows:
    sizes = [len(preferences), len(lengths), len(baseline_lengths)]
    sizes += [] if difficulties is None else [len(difficulties)]
    if len(set(sizes)) > 1:
        raise DataError(f"{name}: preferences, lengths and difficulties must be as many as each other, got {sizes}")
    # What stands in for a missing preference weighs nothing.
    share_N = unit_interval([0.5 if value is None else value for value in preferences], name)
    codes_N = codes_for(share_N, prompts, name)
    return _Rows(
        share_N=share_N,
        # A row without a preference still has a length and a difficulty to predict for, as in AlpacaEval.
        is_scored_N=np.array([value is not None for value in preferences], dtype=np.float64),
        shorter_by_N=finite(baseline_lengths, f"{name}: baseline length") - finite(lengths, f"{name}: length"),
        difficulty_N=None if difficulties is None else finite(difficulties, f"{name}: difficulty"),
        codes_N=codes_N,
        per_prompt_N=(1 / np.bincount(codes_N))[codes_N] if len(codes_N) else share_N,
    )


def _fitted(rows: _Rows, weight_DC: Floats, *, start_K: Floats | None) -> tuple[Floats, Floats]:
    """Return the length-controlled rate and the coefficients (D, K) of each draw."""
    weight_DN = weight_DC[:, rows.codes_N] * rows.per_prompt_N
    # Standardised anew in each draw: the spread of lengths is estimated from the same rows as the coefficients.
    length_DN = np.tanh(_standardised(rows.shorter_by_N, weight_DN))
    columns = [np.ones_like(length_DN), length_DN]
    if rows.difficulty_N is not None:
        columns.append(np.broadcast_to(rows.difficulty_N, length_DN.shape))
    coefficient_DK = fit_logistic(
        np.stack(columns, axis=-1), rows.share_N, weight_DN * rows.is_scored_N, prior_sd=PRIOR_SD, start_K=start_K
    )
    if rows.difficulty_N is None:
        # At equal length tanh is 0, and without difficulties every row has the same rate.
        return sigmoid(coefficient_DK[:, 0]), coefficient_DK
    chance_DN = sigmoid(coefficient_DK[:, :1] + coefficient_DK[:, 2:] * rows.difficulty_N)
    return np.asarray((weight_DN * chance_DN).sum(axis=1) / weight_DN.sum(axis=1)), coefficient_DK


def _standardised(value_N: Floats, weight_DN: Floats) -> Floats:
    """Divide values by their standard deviation (n - 1) in each draw, without centring; zero where they do not vary."""
    total_D = weight_DN.sum(axis=1)
    mean_D = weight_DN @ value_N / total_D
    square_D = (weight_DN * (value_N - mean_D[:, None]) ** 2).sum(axis=1)
    sd_D = np.sqrt(square_D / np.maximum(total_D - 1, 1))
    # Not centred: zero has to stay equal length, since that is where the rate is read off.
    scaled_DN = np.zeros_like(weight_DN)
    np.divide(value_N, sd_D[:, None], out=scaled_DN, where=sd_D[:, None] > 0)
    return scaled_DN


def _rate_draws(rows: _Rows, start_K: Floats, *, draws: int, seed: int) -> Floats:
    num = int(rows.codes_N.max()) + 1
    at_once = max(1, _CHUNK // len(rows.codes_N))
    rates = [
        _fitted(rows, weight_DC[start : start + at_once], start_K=start_K)[0]
        for weight_DC in cluster_weights(num, draws=draws, seed=seed)
        for start in range(0, len(weight_DC), at_once)
    ]
    return np.concatenate(rates)


def _extrapolation(rows: _Rows) -> str:
    """Return a warning where one side's answers are nearly always longer: then equal length was hardly seen."""
    is_scored_N = rows.is_scored_N > 0
    longer, shorter = (rows.shorter_by_N[is_scored_N] < 0).mean(), (rows.shorter_by_N[is_scored_N] > 0).mean()
    if min(longer, shorter) >= _ONE_SIDED or longer == shorter or longer + shorter < _ONE_SIDED:
        return ""
    side, share = ("longer", longer) if longer > shorter else ("shorter", shorter)
    return f"; {share:.0%} of the answers are {side} than the baseline's, so equal length is extrapolated"
