"""
Length-controlled win rates of several systems that were judged on the same prompts, with each prompt's difficulty.

Where a prompt is easy for everybody its answers are also nearly as long as the baseline's, so that a regression on
length takes easiness for the effect of length. What other systems scored on the same prompt tells the two apart: the
form is AlpacaEval 2's (Dubois et al., 2024), with difficulties from the data at hand, as `difficulty_model` describes.
The rate of a system is that over prompts like its own, at equal length.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.evaluation_results import LengthControlled
from haloes.stats.bootstrap import Codes, Floats, cluster_codes, finite
from haloes.stats.bounded_mean import unit_interval
from haloes.stats.difficulty_model import PRIOR_SD, DifficultyModel, JudgedRows
from haloes.stats.length_control import CONTROLLED, NOT_CONTROLLED, extrapolation, standardised
from haloes.stats.penalised import judged_score
from haloes.stats.win_rate import Preferences

# Shapes: N comparisons, S systems, C prompts.

_UNKNOWN_TASTE_SD = PRIOR_SD / 2
"""Where the judge's taste for length is known no better than this, the prior says as much of it as the answers do."""
_CONFOUNDED = (
    "the answers to a prompt are so alike in length that what length does cannot be told from what an easy prompt does"
)


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


def length_controlled_together(systems: Sequence[Compared], *, label: str = "") -> list[LengthControlled | None]:
    """
    Compute each system's win rate at equal length, with intervals over prompts like these.

    Where the systems' answers to a prompt hardly differ in length, nothing tells length from difficulty: the interval
    is then wide, as the priors are, and the number has another name and a caution.

    Args:
        systems: at least two, against the same baseline by the same judge, on prompts that they share.
        label: how a report calls the number.

    Returns:
        The score and the coefficients of each system; None where it has fewer than two scored prompts.

    Raises:
        DataError: the lengths differ, a preference is not in [0, 1], or another number is not finite.
    """
    given = _given(systems)
    if not len(given.share_N):
        return [None] * len(systems)
    model = DifficultyModel(_sorted(given))
    coefficient_K = model.maximum()
    fit = model.described(coefficient_K)
    # The judge's taste is the mean of the systems' phi.
    phi_K = np.zeros_like(coefficient_K)
    phi_K[len(systems) : 2 * len(systems)] = 1 / len(systems)
    is_known = phi_K @ fit.inverse_KK @ phi_K < _UNKNOWN_TASTE_SD**2
    found: list[LengthControlled | None] = []
    for system, one in enumerate(systems):
        is_own_N = given.system_N == system
        is_scored_N = is_own_N & given.is_scored_N
        num_scored = len(np.unique(given.prompt_N[is_scored_N]))
        if num_scored < 2:  # noqa: PLR2004 - one prompt has no spread
            found.append(None)
            continue
        value, slope_K, own_C = model.rate(coefficient_K, system)
        share_N, variance = given.share_N[is_scored_N], fit.variance(slope_K, own_C)
        score = judged_score(value, variance, share_N, num_prompts=num_scored)
        method = f"{score.method}; each prompt's difficulty is fitted to {len(systems)} systems"
        name = CONTROLLED if is_known else NOT_CONTROLLED
        caution = extrapolation(given.shorter_by_N[is_scored_N])
        found.append(
            LengthControlled(
                score=replace(score, name=name, variant=one.variant, label=label, method=method),
                theta=float(coefficient_K[system]),
                phi_length=float(coefficient_K[len(systems) + system]),
                psi_difficulty=1.0,
                caution=caution if is_known else _CONFOUNDED,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Given:
    """The comparisons of all systems, in the order in which they were given."""

    share_N: Floats
    is_scored_N: NDArray[np.bool_]
    shorter_by_N: Floats
    system_N: Codes
    prompt_N: Codes
    num_systems: int


def _given(systems: Sequence[Compared]) -> _Given:
    for one in systems:
        sizes = [len(one.preferences), len(one.lengths), len(one.baseline_lengths), len(one.prompts)]
        if len(set(sizes)) > 1:
            raise DataError(
                f"{CONTROLLED} of {one.variant}: preferences, lengths and prompts must be as many as each other, "
                f"got {sizes}"
            )
    given = [preference for one in systems for preference in one.preferences]
    lengths = finite([length for one in systems for length in one.lengths], f"{CONTROLLED}: length")
    theirs = finite([length for one in systems for length in one.baseline_lengths], f"{CONTROLLED}: baseline length")
    return _Given(
        # What stands in for a missing preference weighs nothing.
        unit_interval([0.5 if preference is None else preference for preference in given], CONTROLLED),
        np.array([preference is not None for preference in given], dtype=bool),
        theirs - lengths,
        np.repeat(np.arange(len(systems)), [len(one.preferences) for one in systems]),
        cluster_codes([prompt for one in systems for prompt in one.prompts]),
        len(systems),
    )


def _sorted(given: _Given) -> JudgedRows:
    """Weigh the rows so that each prompt counts once for a system, standardise lengths, and sort by prompt."""
    cell_N = given.prompt_N * given.num_systems + given.system_N
    per_prompt_N = 1 / np.bincount(cell_N)[cell_N]
    length_N = np.zeros_like(per_prompt_N)
    for system in range(given.num_systems):
        own = given.system_N == system
        length_N[own] = np.tanh(standardised(given.shorter_by_N[own], per_prompt_N[own]))
    order = np.argsort(cell_N, kind="stable")
    return JudgedRows(
        share_N=given.share_N[order],
        weight_N=(per_prompt_N * given.is_scored_N)[order],
        length_N=length_N[order],
        system_N=given.system_N[order],
        prompt_N=given.prompt_N[order],
        num_systems=given.num_systems,
    )
