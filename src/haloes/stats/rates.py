"""Shares of answers and how they changed: intervals that stay honest at 0 and 1, and exact tests."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from haloes.errors import DataError
from haloes.results import Score, SignTest
from haloes.stats.bootstrap import (
    UPPER,
    Codes,
    Floats,
    codes_for,
    finite,
    normal_quantile,
    t_quantile,
)
from haloes.stats.both_sides import BothSides
from haloes.stats.mean_spread import mean_spread, said_of_few
from haloes.stats.means import difference_with_interval, paired_changes

# Shapes: N and M rows, C prompts.


def wilson_interval(successes: float, trials: float, *, z: float) -> tuple[float, float]:
    """
    Return Wilson's score interval (1927) of a share: the shares p from which the observed one is z standard errors off.

    `successes` and `trials` need not be whole, so that `trials` may be an effective sample size.
    """
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At 0 and 1 the formula gives the bound itself up to rounding.
    low = 0.0 if share == 0 else max(0.0, float(centre - half))
    high = 1.0 if share == 1 else min(1.0, float(centre + half))
    return low, high


def agresti_coull_interval(successes: float, trials: float, *, z: float) -> tuple[float, float]:
    """
    Return the interval of Agresti and Coull (Am. Stat. 52, 1998, 119-126), a plain one around the centre of Wilson's.

    With ten rows, Wilson's covers 86 to 91 % of shares below 0.06, this one never less than 92.8 %; it is 5 % wider
    with ten rows, 2 % with fifty. `successes` and `trials` need not be whole.
    """
    worth = trials + z**2
    centre = (successes + z**2 / 2) / worth
    half = z * float(np.sqrt(centre * (1 - centre) / worth))
    return max(0.0, centre - half), min(1.0, centre + half)


def share_with_interval(
    outcomes: ArrayLike,
    keys: Sequence[Hashable],
    *,
    name: str,
    variant: str,
    label: str = "",
) -> Score | None:
    """
    Compute the share of rows that are true, with the interval of Agresti and Coull.

    With one row a prompt the rows are independent. Otherwise the interval is that of as many independent rows as they
    are worth (`independent_rows`).

    Args:
        outcomes: true or false for each row.
        keys: the prompt identity of each row (see `bootstrap.cluster_codes`).
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.

    Returns:
        The score; None with fewer than two prompts.

    Raises:
        DataError: the lengths differ, or an outcome is neither true nor false.
    """
    outcome_N = _outcomes(outcomes, name)
    codes_N = codes_for(outcome_N, keys, name)
    num_rows, num_clusters = len(outcome_N), int(codes_N.max(initial=-1)) + 1
    if num_clusters < 2:  # noqa: PLR2004 - one cluster has no spread
        return None
    share = float(outcome_N.mean())
    z = normal_quantile(UPPER)
    if num_clusters == num_rows:
        trials, method = float(num_rows), f"Agresti-Coull interval, {num_rows} independent rows"
    else:
        trials = independent_rows(outcome_N, codes_N)
        method = (
            f"Agresti-Coull interval, {num_rows} rows worth {trials:.1f} independent ones over {num_clusters} prompts"
        )
    method += said_of_few(np.bincount(codes_N))
    low, high = agresti_coull_interval(share * trials, trials, z=z)
    return Score(
        name=name,
        value=share,
        low=low,
        high=high,
        variant=variant,
        num_rows=num_rows,
        num_clusters=num_clusters,
        method=method,
        label=label,
    )


def independent_rows(value_N: Floats, codes_N: Codes) -> float:
    """
    Return how many independent rows these are worth, for an interval that knows no t distribution.

    It is the variance of a row by that of the mean (`mean_spread.mean_spread`), at most all rows, adjusted to the t
    distribution as Korn and Graubard (1998) do for surveys. Where all rows are equal no spread can be seen, and each
    prompt counts as one row.
    """
    num_clusters, spread = int(codes_N.max()) + 1, mean_spread(value_N, codes_N)
    adjust = (normal_quantile(UPPER) / t_quantile(UPPER, spread.degrees_of_freedom)) ** 2
    if spread.standard_error == 0:
        return adjust * num_clusters
    return adjust * min(len(value_N), float(value_N.var()) / spread.standard_error**2)


def share_difference_with_interval(
    sides: BothSides,
    *,
    name: str,
    label: str = "",
) -> Score | None:
    """
    Compute the share after minus the share before on the same prompts.

    The interval is Bonett and Price's adjusted Wald interval for paired shares (J. Educ. Behav. Stat. 37, 2012,
    479-488), which keeps its width where no answer changed sides; with several rows a prompt, that of as many
    independent rows as they are worth (`independent_rows`). Where the sides have different numbers of rows for a prompt
    it is that of `means.difference_with_interval`, whose arguments, result and errors this shares.
    """
    before_N, after_M = _outcomes(sides.before, name), _outcomes(sides.after, name)
    before_codes, after_codes = sides.codes(before_N, after_M, name)
    num_clusters, num = int(before_codes.max(initial=-1)) + 1, len(before_N)
    if num_clusters < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    if not np.array_equal(np.bincount(before_codes), np.bincount(after_codes)):
        checked = BothSides(before_N, sides.before_keys, after_M, sides.after_keys)
        return difference_with_interval(checked, name=name, label=label, bounds=(-1, 1))
    change_N, change_codes = paired_changes(before_N, before_codes, after_M, after_codes)
    trials = float(num) if num == num_clusters else independent_rows(change_N, change_codes)
    up, down = float((change_N > 0).mean()) * trials, float((change_N < 0).mean()) * trials
    z = normal_quantile(UPPER)
    # One imagined prompt added each way: where no answer changed sides the interval keeps a width.
    smooth_up, smooth_down = (up + 1) / (trials + 2), (down + 1) / (trials + 2)
    centre = smooth_up - smooth_down
    half = z * np.sqrt((smooth_up + smooth_down - centre**2) / (trials + 2))
    worth = "" if num == num_clusters else f", {num} rows worth {trials:.1f} independent ones"
    return Score(
        name=name,
        value=float(change_N.mean()),
        low=max(-1.0, float(centre - half)),
        high=min(1.0, float(centre + half)),
        variant="difference",
        num_rows=2 * num,
        num_clusters=num_clusters,
        method=f"Bonett-Price interval for paired shares, {num_clusters} prompts{worth}",
        label=label,
    )


def sign_test(before: ArrayLike, after: ArrayLike) -> SignTest:
    """
    Run the exact two-sided sign test of paired values; on true/false outcomes this is McNemar's exact test.

    Rows that did not change say nothing about the direction and are left out of the test, but counted.

    Args:
        before: one number (or true/false) a row.
        after: the same for the same rows.

    Raises:
        DataError: the lengths differ, or a value is not finite.
    """
    from scipy.stats import binomtest

    before_N, after_N = finite(before, "sign test"), finite(after, "sign test")
    if before_N.shape != after_N.shape or before_N.ndim != 1:
        raise DataError(f"sign test: {before_N.shape} values before and {after_N.shape} after; they must pair up")
    up, down = int((after_N > before_N).sum()), int((after_N < before_N).sum())
    p_value = float(binomtest(up, up + down).pvalue) if up + down else 1.0
    return SignTest(up=up, down=down, same=len(before_N) - up - down, p_value=p_value)


def _outcomes(outcomes: ArrayLike, name: str) -> Floats:
    outcome_N = finite(outcomes, name)
    bad = outcome_N[~np.isin(outcome_N, [0.0, 1.0])]
    if len(bad):
        raise DataError(f"{name}: outcomes must be true or false, got {bad[0]}")
    return outcome_N
