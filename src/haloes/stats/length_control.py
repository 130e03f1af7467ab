"""
The length-controlled win rate: what the win rate would be if both answers were equally long.

The form is AlpacaEval 2's (Dubois et al., 2024, https://arxiv.org/abs/2404.04475): with lengths in characters and the
difficulty g of an instruction, where it is known,

    logit P(model preferred) = theta + phi * tanh((baseline length - length) / sd) + psi * g

so that phi is negative where the judge prefers longer answers, and the rate is the mean of sigmoid(theta + psi * g).
AlpacaEval chooses an L1 penalty by cross-validation and adds the judgements of two reference models as a prior; both
need its own data. Here a wide normal prior on the coefficients keeps them finite, and nothing else is added: with its
difficulties it is 1.5 points from AlpacaEval's on average. Without difficulties it is another number with another name:
on published models 6.7 points above on average, 25.6 at most, for easy instructions are also those whose answers are
about equally long. Several systems on the same prompts tell which are easy: see `shared_difficulty`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.evaluation_results import LengthControlled
from haloes.stats.bootstrap import Codes, Floats, codes_for, finite
from haloes.stats.bounded_mean import unit_interval
from haloes.stats.logistic import fit_logistic, sigmoid
from haloes.stats.penalised import PenalisedFit, fit_without_each, judged_score
from haloes.stats.win_rate import Preferences

# Shapes: N comparisons, C prompts, K coefficients.

PRIOR_SD = 5.0
"""Prior standard deviation of the coefficients: those that AlpacaEval published lie between -4.2 and 2, so that only
separable rows feel it."""
CONTROLLED, NOT_CONTROLLED = "length_controlled_win_rate", "win_rate_at_equal_length"
"""Names of the rate: with each prompt's difficulty, and where that is not known."""
_NO_DIFFICULTY = (
    "of one model alone: where easy prompts are those with answers of about equal length, their ease is in it"
)
_ONE_SIDED = 0.05


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of the regression: one without a preference is predicted, as AlpacaEval does, but not fitted."""

    share_N: Floats
    is_scored_N: NDArray[np.bool_]
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
    variant: str = "after",
    label: str = "",
) -> LengthControlled | None:
    """
    Compute the win rate at equal length, with an interval over prompts like these.

    Args:
        preferences: in [0, 1] for the model's answer, ties 0.5, None where a comparison could not be scored.
        lengths: characters of the model's answers.
        baseline_lengths: characters of the answers they are compared with.
        prompts: the prompt of each comparison.
        difficulties: difficulty of each comparison's instruction, such as AlpacaEval's; None where not known.
        variant: which model it is about, for the record.
        label: how a report calls the number.

    Returns:
        The score and the coefficients; None with fewer than two scored prompts. Without difficulties the score has the
        name "win_rate_at_equal_length" and a caution.

    Raises:
        DataError: the lengths differ, a preference is not in [0, 1], or another number is not finite.
    """
    rows = _rows(preferences, lengths, baseline_lengths, prompts, difficulties)
    num_scored = len(np.unique(rows.codes_N[rows.is_scored_N]))
    if num_scored < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    length_N = np.tanh(standardised(rows.shorter_by_N, rows.per_prompt_N))
    known = [] if rows.difficulty_N is None else [rows.difficulty_N]
    features_NK = np.column_stack([np.ones_like(length_N), length_N, *known])
    weight_N = rows.per_prompt_N * rows.is_scored_N
    coefficient_K = fit_logistic(features_NK, rows.share_N, weight_N[None], prior_sd=PRIOR_SD)[0]
    # The rate is read off where tanh is 0.
    at_equal_NK = features_NK * np.where(np.arange(features_NK.shape[1]) == 1, 0, 1)
    value, slope_K, own_C = _mean_chance(at_equal_NK, coefficient_K, rows)
    fit = _without_each(features_NK, coefficient_K, rows, weight_N)
    share_N = rows.share_N[rows.is_scored_N]
    variance = fit.variance(slope_K, own_C)
    score = judged_score(value, variance, share_N, num_prompts=num_scored)
    theta, phi, *psi = coefficient_K.tolist()
    cautions = [] if known else [_NO_DIFFICULTY]
    cautions += [extrapolation(rows.shorter_by_N[rows.is_scored_N])]
    return LengthControlled(
        score=replace(score, name=CONTROLLED if known else NOT_CONTROLLED, variant=variant, label=label),
        theta=theta,
        phi_length=phi,
        psi_difficulty=psi[0] if psi else None,
        caution="; ".join(filter(None, cautions)),
    )


def standardised(value_N: Floats, weight_N: Floats) -> Floats:
    """Divide values by their standard deviation (n - 1), without centring; zero where they do not vary."""
    total = weight_N.sum()
    if total == 0:
        return np.zeros_like(value_N)
    mean = weight_N @ value_N / total
    sd = np.sqrt(weight_N @ (value_N - mean) ** 2 / max(total - 1, 1))
    # Not centred: zero has to stay equal length, since that is where the rate is read off.
    return np.asarray(value_N / sd) if sd > 0 else np.zeros_like(value_N)


def extrapolation(shorter_by_N: Floats) -> str:
    """Return a caution where one side's answers are nearly always longer: then equal length was hardly seen."""
    longer, shorter = (shorter_by_N < 0).mean(), (shorter_by_N > 0).mean()
    if min(longer, shorter) >= _ONE_SIDED or longer == shorter or longer + shorter < _ONE_SIDED:
        return ""
    side, share = ("longer", longer) if longer > shorter else ("shorter", shorter)
    return f"{share:.0%} of the answers are {side} than the baseline's, so equal length is extrapolated"


def _rows(
    preferences: Preferences,
    lengths: Sequence[float],
    baseline_lengths: Sequence[float],
    prompts: Sequence[Hashable],
    difficulties: Sequence[float] | None,
) -> _Rows:
    sizes = [len(preferences), len(lengths), len(baseline_lengths)]
    sizes += [] if difficulties is None else [len(difficulties)]
    if len(set(sizes)) > 1:
        raise DataError(
            f"{CONTROLLED}: preferences, lengths and difficulties must be as many as each other, got {sizes}"
        )
    # What stands in for a missing preference weighs nothing.
    share_N = unit_interval([0.5 if value is None else value for value in preferences], CONTROLLED)
    codes_N = codes_for(share_N, prompts, CONTROLLED)
    return _Rows(
        share_N=share_N,
        # A row without a preference still has a length and a difficulty to predict for, as in AlpacaEval.
        is_scored_N=np.array([value is not None for value in preferences], dtype=bool),
        shorter_by_N=finite(baseline_lengths, f"{CONTROLLED}: baseline length")
        - finite(lengths, f"{CONTROLLED}: length"),
        difficulty_N=None if difficulties is None else finite(difficulties, f"{CONTROLLED}: difficulty"),
        codes_N=codes_N,
        per_prompt_N=(1 / np.bincount(codes_N))[codes_N] if len(codes_N) else share_N,
    )


def _mean_chance(features_NK: Floats, coefficient_K: Floats, rows: _Rows) -> tuple[float, Floats, Floats]:
    """Return the mean over prompts of the chances, its slope, and how it changes where a prompt is left out."""
    chance_N = sigmoid(features_NK @ coefficient_K)
    weight_N = rows.per_prompt_N / rows.per_prompt_N.sum()
    value = float(weight_N @ chance_N)
    by_prompt_C = np.bincount(rows.codes_N, rows.per_prompt_N * chance_N)
    slope_K = (weight_N * chance_N * (1 - chance_N)) @ features_NK
    return value, slope_K, (value - by_prompt_C) / (len(by_prompt_C) - 1)


def _without_each(features_NK: Floats, coefficient_K: Floats, rows: _Rows, weight_N: Floats) -> PenalisedFit:
    precision_KK = np.eye(len(coefficient_K)) / PRIOR_SD**2
    chance_N = sigmoid(features_NK @ coefficient_K)
    bent_N = weight_N * chance_N * (1 - chance_N)
    gradient_NK = (weight_N * (chance_N - rows.share_N))[:, None] * features_NK
    order = np.argsort(rows.codes_N, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(rows.codes_N))[:-1])
    parts = ((gradient_NK[own].sum(axis=0), (features_NK[own].T * bent_N[own]) @ features_NK[own]) for own in groups)
    return fit_without_each(parts, (features_NK.T * bent_N) @ features_NK + precision_KK, precision_KK)
