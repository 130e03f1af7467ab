"""Several models on the same prompts: all paired differences, intervals, and p-values corrected for their number."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike

from haloes.errors import DataError
from haloes.results import PairedDifference
from haloes.stats.bootstrap import DRAWS, finite
from haloes.stats.win_rate import Preferences, means_by_prompt, win_rate_difference

# Shapes: N paired differences or p-values, F patterns of signs.

FLIPS = 20_000
_EXACT_UP_TO = 14


def paired_differences(
    preferences: Mapping[str, tuple[Preferences, Sequence[Hashable]]],
    *,
    name: str = "win_rate",
    draws: int = DRAWS,
    seed: int = 0,
) -> list[PairedDifference]:
    """
    Compute the differences of all pairs of models in their win rates against one opponent, on the same prompts.

    Intervals are those of `win_rate_difference`; p-values are those of `sign_flip_test` on the prompts' differences,
    corrected by Holm's method for the number of pairs. Pairs with fewer than two prompts in common are left out.

    Args:
        preferences: for each model, its preferences in [0, 1] (None unscored) and the prompts of those.
        name: what was measured, for the record.
        draws: number of bootstrap draws.
        seed: seed of the draws and the test.

    Raises:
        DataError: two models were judged on different prompts, or a preference is not in [0, 1].
    """
    means = {model: means_by_prompt(values, prompts, name) for model, (values, prompts) in preferences.items()}
    tested = []
    for model, other in combinations(preferences, 2):
        score = win_rate_difference(*preferences[other], *preferences[model], name=name, draws=draws, seed=seed)
        if score is not None:
            shared = [prompt for prompt in means[model] if prompt in means[other]]
            change = [means[model][prompt] - means[other][prompt] for prompt in shared]
            tested.append((model, other, score, sign_flip_test(change, seed=seed)))
    corrected = holm([p_value for *_, p_value in tested])
    return [
        PairedDifference(model=model, other=other, score=score, p_value=p_value, p_holm=p_holm)
        for (model, other, score, p_value), p_holm in zip(tested, corrected, strict=True)
    ]


def sign_flip_test(differences: ArrayLike, *, flips: int = FLIPS, seed: int = 0) -> float:
    """
    Compute the two-sided p-value that paired differences have mean zero, from flipping their signs (Fisher, 1935).

    If it made no difference which side was which, each sign could as well be the other. Up to 14 differences all signs
    are tried; beyond that `flips` at random, the observed ones being one of them, so that p is never 0.

    Raises:
        DataError: a difference is not finite, or they are not one row.
    """
    change_N = finite(differences, "sign-flip test")
    if change_N.ndim != 1:
        raise DataError(f"sign-flip test: differences must be one row of numbers, got shape {change_N.shape}")
    # A zero stays zero under either sign: it changes no sum, and would only double the patterns to try.
    change_N = change_N[change_N != 0]
    if not len(change_N):
        return 1.0
    # A little slack, so that sums that differ by rounding only count as equal.
    observed = abs(float(change_N.sum())) * (1 - 1e-9)
    if len(change_N) <= _EXACT_UP_TO:
        sign_FN = np.array(list(product((-1.0, 1.0), repeat=len(change_N))))
        return float((np.abs(sign_FN @ change_N) >= observed).mean())
    rng = np.random.default_rng(seed)
    at_once = max(1, 2_000_000 // len(change_N))
    as_large = 0
    for start in range(0, flips, at_once):
        sign_FN = 2.0 * rng.integers(2, size=(min(at_once, flips - start), len(change_N))) - 1
        as_large += int((np.abs(sign_FN @ change_N) >= observed).sum())
    return (as_large + 1) / (flips + 1)


def holm(p: Sequence[float]) -> list[float]:
    """
    Adjust p-values by Holm's method (Scand. J. Statist. 6, 1979, 65-70), in the order of the raw ones.

    Rejecting what is adjusted to `alpha` or less keeps the chance of any false rejection at `alpha` or less, however
    the tests depend on each other. The i-th smallest of m (i from 0) is multiplied by m - i, and none may fall below a
    smaller one or rise above 1.

    Args:
        p: one p-value a comparison; none gives none.

    Raises:
        DataError: a p-value is not between 0 and 1.
    """
    p_N = np.asarray(p, dtype=np.float64)
    bad = np.flatnonzero(~((p_N >= 0) & (p_N <= 1)))
    if len(bad):
        raise DataError(f"holm: p-value {p_N[bad[0]]} of comparison {bad[0]} is not between 0 and 1")
    order = np.argsort(p_N, kind="stable")
    # The smallest p is multiplied by m, the next by m - 1, ...; none may come out below one before it.
    stepped = np.maximum.accumulate(p_N[order] * np.arange(len(p_N), 0, -1))
    adjusted = np.empty_like(p_N)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
