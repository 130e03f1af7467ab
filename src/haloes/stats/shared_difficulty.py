"""
Length-controlled win rates of several systems that were judged on the same prompts, with each prompt's difficulty.

Where a prompt is easy for everybody its answers are also nearly as long as the baseline's, so that a regression on
length takes easiness for the effect of length. What other systems scored on the same prompt tells the two apart. With
system s, prompt x, and everything fitted at once:

    logit P(s preferred on x) = theta_s + phi_s * tanh((baseline length - length) / sd_s) + g_x

as AlpacaEval 2's (Dubois et al., 2024), with difficulties from the data at hand, and normal priors in place of its
judgements of two reference models: theta ~ N(0, 5^2), g ~ N(0, 3^2), and phi_s ~ N(mu, 0.5^2) around the judge's taste
mu ~ N(0, 5^2). The log-posterior is concave. The rate of a system is the mean over its prompts of
sigmoid(theta_s + g_x).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from haloes.errors import DataError
from haloes.evaluation_results import LengthControlled
from haloes.results import Score
from haloes.stats.bootstrap import (
    Codes,
    Floats,
    cluster_codes,
    cluster_weights,
    finite,
)
from haloes.stats.bounded_mean import unit_interval
from haloes.stats.length_control import PRIOR_SD, refitted_interval
from haloes.stats.logistic import sigmoid
from haloes.stats.win_rate import Preferences

# Shapes: N comparisons, S systems, C prompts, D bootstrap draws.

DIFFICULTY_SD = 3.0
"""Prior standard deviation of a prompt's difficulty. Of 2, 3 and 5 it comes nearest to AlpacaEval's published rates,
with three to seventeen systems: off by 2.0 (three), 1.3 (five), 0.7 (ten) and 1.0 points on average; 3.4 with two."""
TASTE_SD = 0.5
"""Prior standard deviation of a system's phi around the judge's. Those that AlpacaEval published lie 0.4 apart."""
_STEPS = 60
_HALVINGS = 30
_SMALL = 1e-9
_LAST_STEP = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One system's comparisons with the baseline; the lists are as long as each other."""

    variant: str
    """The system, for the record."""
    preferences: Preferences
    """In [0, 1] for the system's answer, ties 0.5, None where a comparison could not be scored."""
    lengths: Sequence[float]
    """Characters of the system's answers."""
    baseline_lengths: Sequence[float]
    prompts: Sequence[Hashable]


class _Rows(NamedTuple):
    share_N: Floats
    is_scored_N: Floats
    shorter_by_N: Floats
    system_N: Codes
    prompt_N: Codes
    per_prompt_N: Floats
    """1 / the system's rows of that prompt, so that each prompt counts once."""


class _Fit(NamedTuple):
    theta_S: Floats
    phi_S: Floats
    difficulty_C: Floats


def shared_prompts(systems: Sequence[Compared]) -> bool:
    """Return whether there are several systems, and each scored at least half of its prompts together with another."""
    scored = [
        {prompt for prompt, preference in zip(one.prompts, one.preferences, strict=True) if preference is not None}
        for one in systems
    ]
    others = [set().union(*(theirs for theirs in scored if theirs is not own)) for own in scored]
    return len(systems) > 1 and all(
        own and 2 * len(own & theirs) >= len(own) for own, theirs in zip(scored, others, strict=True)
    )


def length_controlled_together(
    systems: Sequence[Compared],
    *,
    name: str = "length_controlled_win_rate",
    label: str = "",
    level: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> list[LengthControlled | None]:
    """
    Compute each system's win rate at equal length, with intervals that resample prompts and refit all systems.

    Args:
        systems: at least two, against the same baseline by the same judge, on prompts that they share.
        name: what was measured, for the record.
        label: how a report calls the number.
        level: coverage of the intervals.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The score and the coefficients of each system; None where it has fewer than two scored prompts.

    Raises:
        DataError: the lengths differ, a preference is not in [0, 1], or another number is not finite.
    """
    rows = _rows(systems, name)
    num = int(rows.prompt_N.max(initial=-1)) + 1
    start = _Fit(np.zeros(len(systems)), np.zeros(len(systems)), np.zeros(num))
    fit, rate_S = _fitted(rows, np.ones(num), start)
    drawn_DS = np.array(
        [
            _fitted(rows, weight_C, fit)[1]
            for weight_DC in cluster_weights(num, draws=draws, seed=seed)
            for weight_C in weight_DC
        ]
    )
    found: list[LengthControlled | None] = []
    for system, one in enumerate(systems):
        scored_N = (rows.system_N == system) & (rows.is_scored_N > 0)
        num_scored = len(np.unique(rows.prompt_N[scored_N]))
        if num_scored < 2:  # noqa: PLR2004 - one prompt has no spread
            found.append(None)
            continue
        value = float(rate_S[system])
        # In a draw without any prompt of this system there is no rate.
        own_D = drawn_DS[np.isfinite(drawn_DS[:, system]), system]
        share_N = rows.share_N[scored_N]
        low, high, method = refitted_interval(value, own_D, share_N, num_prompts=num_scored, draws=draws, level=level)
        score = Score(
            name=name,
            value=value,
            low=low,
            high=high,
            level=level,
            variant=one.variant,
            num_rows=int(scored_N.sum()),
            num_clusters=num_scored,
            method=f"{method}; each prompt's difficulty is fitted to {len(systems)} systems",
            label=label,
        )
        theta, phi = float(fit.theta_S[system]), float(fit.phi_S[system])
        found.append(LengthControlled(score=score, theta=theta, phi_length=phi, psi_difficulty=1.0))
    return found


def _rows(systems: Sequence[Compared], name: str) -> _Rows:
    for one in systems:
        sizes = [len(one.preferences), len(one.lengths), len(one.baseline_lengths), len(one.prompts)]
        if len(set(sizes)) > 1:
            raise DataError(
                f"{name} of {one.variant}: preferences, lengths and prompts must be as many as each other, got {sizes}"
            )
    given = [preference for one in systems for preference in one.preferences]
    lengths = finite([length for one in systems for length in one.lengths], f"{name}: length")
    theirs = finite([length for one in systems for length in one.baseline_lengths], f"{name}: baseline length")
    system_N = np.repeat(np.arange(len(systems)), [len(one.preferences) for one in systems])
    prompt_N = cluster_codes([prompt for one in systems for prompt in one.prompts])
    cell_N = prompt_N * len(systems) + system_N
    return _Rows(
        # What stands in for a missing preference weighs nothing.
        share_N=unit_interval([0.5 if preference is None else preference for preference in given], name),
        is_scored_N=np.array([preference is not None for preference in given], dtype=np.float64),
        shorter_by_N=theirs - lengths,
        system_N=system_N,
        prompt_N=prompt_N,
        per_prompt_N=1 / np.bincount(cell_N)[cell_N],
    )


def _fitted(rows: _Rows, drawn_C: Floats, start: _Fit) -> tuple[_Fit, Floats]:
    """Return the fit to one draw, and each system's rate; NaN for a system none of whose prompts was drawn."""
    num_systems = len(start.theta_S)
    weight_N = drawn_C[rows.prompt_N] * rows.per_prompt_N
    length_N = np.tanh(_standardised(rows, weight_N, num_systems))
    fit = _maximum(rows, weight_N * rows.is_scored_N, drawn_C, length_N, start)
    chance_N = sigmoid(fit.theta_S[rows.system_N] + fit.difficulty_C[rows.prompt_N])
    total_S = np.bincount(rows.system_N, weight_N, num_systems)
    rate_S = np.full(num_systems, np.nan)
    np.divide(np.bincount(rows.system_N, weight_N * chance_N, num_systems), total_S, out=rate_S, where=total_S > 0)
    return fit, rate_S


def _standardised(rows: _Rows, weight_N: Floats, num_systems: int) -> Floats:
    """Divide each system's differences of length by their standard deviation, without centring: zero is equal."""
    total_S = np.bincount(rows.system_N, weight_N, num_systems)
    mean_S = np.bincount(rows.system_N, weight_N * rows.shorter_by_N, num_systems) / np.maximum(total_S, 1)
    square_N = weight_N * (rows.shorter_by_N - mean_S[rows.system_N]) ** 2
    sd_S = np.sqrt(np.bincount(rows.system_N, square_N, num_systems) / np.maximum(total_S - 1, 1))
    sd_N = sd_S[rows.system_N]
    scaled_N = np.zeros_like(sd_N)
    np.divide(rows.shorter_by_N, sd_N, out=scaled_N, where=sd_N > 0)
    return scaled_N


def _maximum(rows: _Rows, weight_N: Floats, drawn_C: Floats, length_N: Floats, start: _Fit) -> _Fit:
    """
    Find the maximum of the log-posterior by Newton's method with step halving.

    The difficulties are eliminated from each step: their part of the Hessian is diagonal, so that what is solved has
    2 S rows, however many prompts there are.
    """
    num_systems, num = len(start.theta_S), len(drawn_C)
    system_N, prompt_N = rows.system_N, rows.prompt_N
    cell_N = prompt_N * num_systems + system_N
    # A prompt that was drawn twice is two prompts, each with a prior of its own.
    prior_C = np.maximum(drawn_C, _SMALL) / DIFFICULTY_SD**2
    identity = np.eye(num_systems)
    # phi = mu + d with d ~ N(0, TASTE_SD^2) and mu ~ N(0, PRIOR_SD^2): mu is integrated out.
    taste_SS = np.linalg.inv(TASTE_SD**2 * identity + PRIOR_SD**2)
    prior_KK = np.block([[identity / PRIOR_SD**2, 0 * identity], [0 * identity, taste_SS]])
    own, both = np.arange(num_systems), np.arange(2 * num_systems)

    def loss(coefficient_K: Floats, difficulty_C: Floats) -> tuple[float, Floats]:
        theta_S, phi_S = coefficient_K[:num_systems], coefficient_K[num_systems:]
        logit_N = theta_S[system_N] + phi_S[system_N] * length_N + difficulty_C[prompt_N]
        entropy_N = np.logaddexp(0, logit_N) - rows.share_N * logit_N
        penalty = coefficient_K @ prior_KK @ coefficient_K + prior_C @ difficulty_C**2
        return float(weight_N @ entropy_N + penalty / 2), sigmoid(logit_N)

    coefficient_K, difficulty_C = np.concatenate([start.theta_S, start.phi_S]), start.difficulty_C
    value, chance_N = loss(coefficient_K, difficulty_C)
    for _ in range(_STEPS):
        error_N, curved_N = weight_N * (chance_N - rows.share_N), weight_N * chance_N * (1 - chance_N)
        by_length_N = curved_N * length_N
        slope_K = prior_KK @ coefficient_K
        slope_K[:num_systems] += np.bincount(system_N, error_N, num_systems)
        slope_K[num_systems:] += np.bincount(system_N, error_N * length_N, num_systems)
        slope_C = np.bincount(prompt_N, error_N, num) + prior_C * difficulty_C
        curved_C = np.bincount(prompt_N, curved_N, num) + prior_C
        cross_CK = np.concatenate(
            [
                np.bincount(cell_N, each, num * num_systems).reshape(num, num_systems)
                for each in (curved_N, by_length_N)
            ],
            axis=1,
        )
        curved_KK = prior_KK.copy()
        curved_KK[both, both] += np.concatenate(
            [np.bincount(system_N, each, num_systems) for each in (curved_N, by_length_N * length_N)]
        )
        mixed_S = np.bincount(system_N, by_length_N, num_systems)
        curved_KK[own, num_systems + own] += mixed_S
        curved_KK[num_systems + own, own] += mixed_S
        scaled_CK = cross_CK / curved_C[:, None]
        step_K = np.linalg.solve(curved_KK - cross_CK.T @ scaled_CK, slope_K - scaled_CK.T @ slope_C)
        step_C = (slope_C - cross_CK @ step_K) / curved_C
        for _ in range(_HALVINGS):
            tried, tried_N = loss(coefficient_K - step_K, difficulty_C - step_C)
            if tried <= value + _SMALL * abs(value):
                break
            step_K, step_C = step_K / 2, step_C / 2
        coefficient_K, difficulty_C, value, chance_N = coefficient_K - step_K, difficulty_C - step_C, tried, tried_N
        if max(np.abs(step_K).max(), np.abs(step_C).max()) < _LAST_STEP:
            break
    return _Fit(coefficient_K[:num_systems], coefficient_K[num_systems:], difficulty_C)
