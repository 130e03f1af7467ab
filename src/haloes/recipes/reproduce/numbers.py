"""AUC of several methods on the same held-out answers, over seeds, with intervals and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haloes.stats.auc import auc, auc_draws
from haloes.stats.bootstrap import cluster_codes, percentile_interval
from haloes.stats.holm import holm

Numbers = NDArray[np.float64]

_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Row:
    """A method's AUC, the mean over its seeds, and how it differs from the baseline's."""

    method: str
    auc: float
    low: float
    high: float
    within_prompt: float
    """Share of pairs of a good and a bad answer to one prompt that the reward orders rightly; ties count half."""
    difference: float
    difference_low: float
    difference_high: float
    p: float
    """Of no difference from the baseline, two-sided, by the paired bootstrap; Holm's correction over the methods."""


def auc_rows(
    rewards: Mapping[str, Sequence[Numbers]], desirable: NDArray[np.bool_], prompts: Sequence[int], *, baseline: str
) -> list[Row]:
    """
    A row a method, in the order of the mapping.

    Prompts are drawn again for all methods and all of their seeds together; a draw's AUC is the mean over seeds, so
    that the interval holds the spread of prompts for these seeds.

    Args:
        rewards: of each method an array for every seed, a reward a held-out answer.
        desirable: the labels of the answers.
        prompts: which answers share a prompt.
        baseline: the method that the others are compared with.
    """
    codes = cluster_codes(list(prompts))
    draws = {
        method: np.mean([auc_draws(r, desirable, codes, draws=_DRAWS, seed=0) for r in of_seeds], axis=0)
        for method, of_seeds in rewards.items()
    }
    values = {method: _mean([auc(r, desirable) for r in of_seeds]) for method, of_seeds in rewards.items()}
    others = [method for method in rewards if method != baseline]
    p = dict(zip(others, holm([_p(draws[method] - draws[baseline]) for method in others]), strict=True))
    rows = []
    for method, of_seeds in rewards.items():
        low, high = percentile_interval(_finite(draws[method]), 0.95)
        d_low, d_high = percentile_interval(_finite(draws[method] - draws[baseline]), 0.95)
        within = float(np.mean([within_prompt(r, desirable, prompts) for r in of_seeds]))
        difference = values[method] - values[baseline]
        rows.append(Row(method, values[method], low, high, within, difference, d_low, d_high, p.get(method, 1.0)))
    return rows


def within_prompt(rewards: Numbers, desirable: NDArray[np.bool_], prompts: Sequence[int]) -> float:
    """The share of (good, bad) pairs of one prompt whose good answer has the higher reward; ties count half."""
    wins, pairs = 0.0, 0
    groups = np.asarray(prompts)
    for group in np.unique(groups):
        good, bad = rewards[(groups == group) & desirable], rewards[(groups == group) & ~desirable]
        gap = good[:, None] - bad[None, :]
        wins += float((gap > 0).sum() + (gap == 0).sum() / 2)
        pairs += gap.size
    return wins / pairs if pairs else float("nan")


def _p(difference: Numbers) -> float:
    """Two-sided, from the share of draws on the other side of 0; never 0, for there are only so many draws."""
    drawn = _finite(difference)
    tail = min(float((drawn <= 0).mean()), float((drawn >= 0).mean()))
    return min(1.0, 2 * max(tail, 1 / (len(drawn) + 1)))


def _finite(values: Numbers) -> Numbers:
    return values[np.isfinite(values)]


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))
