"""Several models that score the same rows: all paired differences of their AUCs, with p-values corrected by Holm."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from haloes.stats.auc import auc_difference_with_interval, auc_draws
from haloes.stats.bootstrap import DRAWS, Floats, cluster_codes
from haloes.stats.holm import holm
from haloes.stats.paired import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRows:
    """Rows that two models scored."""

    scores: Sequence[float]
    """Of the one model, such as its implied rewards."""
    others: Sequence[float]
    """Of the other model on the same rows."""
    labels: Sequence[bool]
    prompts: Sequence[Hashable]


def auc_differences(
    pairs: Mapping[tuple[str, str], ScoredRows], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> list[Difference]:
    """
    For each pair of models the AUC of the first minus that of the second, resampling prompts for both together.

    The p-value is twice the smaller share of draws on one side of zero, and all are corrected by Holm's method. A pair
    whose rows have one class or one prompt only is left out.

    Args:
        pairs: the two models' names and what they gave to the rows that they share.
        level: coverage of each interval, not corrected for their number.
        draws: number of bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: the lengths of a pair differ, or a score is not finite.
    """
    found = []
    for names, rows in pairs.items():
        score = auc_difference_with_interval(
            rows.others, rows.scores, rows.labels, rows.prompts, level=level, draws=draws, seed=seed
        )
        if score is not None:
            found.append((names, score, _p_value(rows, draws=draws, seed=seed)))
    corrected = holm([p_value for *_, p_value in found])
    return [
        Difference(model=model, other=other, score=score, p_value=p_value, p_holm=p_holm)
        for ((model, other), score, p_value), p_holm in zip(found, corrected, strict=True)
    ]


def _p_value(rows: ScoredRows, *, draws: int, seed: int) -> float:
    """Twice the smaller share of draws at or beyond zero, the observed sample being one of them."""
    label_N, codes_N = np.asarray(rows.labels, dtype=np.bool_), cluster_codes(rows.prompts)

    def drawn(scores: Sequence[float]) -> Floats:
        return auc_draws(np.asarray(scores, dtype=np.float64), label_N, codes_N, draws=draws, seed=seed)

    change_D = drawn(rows.scores) - drawn(rows.others)
    kept_D = change_D[np.isfinite(change_D)]
    fewer = min(int((kept_D <= 0).sum()), int((kept_D >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(kept_D) + 1))
