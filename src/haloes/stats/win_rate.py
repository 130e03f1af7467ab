"""
The win rate of a model against another: how often its answer is preferred, ties counting half.

A preference is a number in [0, 1]: 1 where the model's answer was preferred, 0 where the other was, 0.5 for a tie, and
anything between from a judge that gives probabilities. None is an answer that could not be scored: it is left out and
counted, never a win or a loss.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from haloes.errors import DataError
from haloes.results import Score, SignTest
from haloes.stats.bootstrap import DRAWS, Floats, cluster_codes, require_same_prompts
from haloes.stats.bounded_mean import as_difference, bounded_mean_with_interval, prompt_means, unit_interval
from haloes.stats.rates import sign_test

# Shapes: N comparisons that are scored, C prompts.

Preferences = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """A win rate with all that is needed to judge it."""

    score: Score | None
    """The mean over prompts with its interval; None with fewer than two scored prompts."""
    standard_error: float | None
    """Standard deviation of the prompts' win rates by the root of their number; None as above."""
    wins: int
    ties: int
    losses: int
    unscored: int
    """Number of comparisons that could not be scored."""
    sign_test: SignTest
    """Prompts that went for (up), against (down), or neither way, and the exact p-value of that."""


def both_orders(shown_first: Preferences, shown_second: Preferences) -> list[float | None]:
    """
    Average the preferences of comparisons that were judged twice, with the answers in both orders.

    A judge that always takes the first answer gets 0.5 throughout. Where one of the two could not be scored, the
    comparison counts as unscored: the other one alone would carry the judge's taste for a position.

    Args:
        shown_first: preference for the model whose answer stood first.
        shown_second: preference for the same model (not for the position) when its answer stood second.

    Raises:
        DataError: the lengths differ.
    """
    if len(shown_first) != len(shown_second):
        raise DataError(
            f"both orders: {len(shown_first)} preferences with the answer first, {len(shown_second)} with it second; "
            "they must pair up"
        )
    pairs = zip(shown_first, shown_second, strict=True)
    return [None if a is None or b is None else (a + b) / 2 for a, b in pairs]


def win_rate(
    preferences: Preferences,
    prompts: Sequence[Hashable],
    *,
    name: str = "win_rate",
    variant: str = "after",
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> WinRate:
    """
    Compute the mean preference over prompts, with an interval from resampling prompts (their seeds go with them).

    The interval is that of `bounded_mean_with_interval`, with Wilson's in place of the bootstrap for few prompts. The
    standard error is AlpacaEval's where each prompt has one comparison.

    Args:
        preferences: one comparison each; of two orders, their mean (see `both_orders`).
        prompts: the prompt of each comparison; several seeds of one prompt share it.
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Raises:
        DataError: the lengths differ, or a preference is not in [0, 1].
    """
    value_N, keys = scored(preferences, prompts, name)
    mean_C = prompt_means(value_N, cluster_codes(keys)) if len(keys) else value_N
    score = bounded_mean_with_interval(value_N, keys, name=name, variant=variant, label=label, draws=draws, seed=seed)
    return WinRate(
        score=score,
        standard_error=None if score is None else float(mean_C.std(ddof=1)) / math.sqrt(len(mean_C)),
        wins=int((value_N > 0.5).sum()),  # noqa: PLR2004 - a tie
        ties=int((value_N == 0.5).sum()),  # noqa: PLR2004 - a tie
        losses=int((value_N < 0.5).sum()),  # noqa: PLR2004 - a tie
        unscored=len(preferences) - len(value_N),
        # By prompts, not by comparisons: several answers to one prompt are not several votes.
        sign_test=sign_test(np.full(len(mean_C), 0.5), mean_C),
    )


def win_rate_difference(
    before: Preferences,
    before_prompts: Sequence[Hashable],
    after: Preferences,
    after_prompts: Sequence[Hashable],
    *,
    name: str = "win_rate",
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute win rate after minus win rate before, both against the same opponent on the same prompts.

    Prompts that are scored on one side only are left out; `method` counts them. Otherwise as `win_rate`.

    Raises:
        DataError: the two sides are about different prompts, the lengths differ, or a preference is not in [0, 1].
    """
    require_same_prompts(before_prompts, after_prompts, name)
    before_of = means_by_prompt(before, before_prompts, name)
    after_of = means_by_prompt(after, after_prompts, name)
    shared = [prompt for prompt in before_of if prompt in after_of]
    # A difference lies in [-1, 1]; moved into [0, 1] it has the interval of any bounded mean.
    moved = [(1 + after_of[prompt] - before_of[prompt]) / 2 for prompt in shared]
    score = bounded_mean_with_interval(
        moved, shared, name=name, variant="difference", label=label, draws=draws, seed=seed
    )
    if score is None:
        return None
    left_out = len(set(before_prompts)) - len(shared)
    change = as_difference(score)
    note = f"; {left_out} prompts not scored on both sides" if left_out else ""
    return replace(change, method=change.method + note)


def means_by_prompt(preferences: Preferences, prompts: Sequence[Hashable], name: str) -> dict[Hashable, float]:
    """Return the mean preference of each prompt that has a scored comparison."""
    value_N, keys = scored(preferences, prompts, name)
    if not keys:
        return {}
    return dict(zip(dict.fromkeys(keys), prompt_means(value_N, cluster_codes(keys)).tolist(), strict=True))


def scored(preferences: Preferences, prompts: Sequence[Hashable], name: str) -> tuple[Floats, list[Hashable]]:
    """Check preferences, and return those that are scored with their prompts."""
    if len(preferences) != len(prompts):
        raise DataError(f"{name}: {len(prompts)} prompts for {len(preferences)} preferences; give one prompt each")
    pairs = [(value, prompt) for value, prompt in zip(preferences, prompts, strict=True) if value is not None]
    return unit_interval([value for value, _ in pairs], name), [prompt for _, prompt in pairs]
