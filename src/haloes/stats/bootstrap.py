"""Intervals by resampling whole clusters (prompts): the one place that decides what is independent of what."""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haloes.errors import DataError
from haloes.results import LEVEL

# Shapes: N and M rows, C clusters (prompts), D bootstrap draws.

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

UPPER = (1 + LEVEL) / 2
"""Share that is to lie below the upper end of an interval."""
DRAWS = 2000
FEW_CLUSTERS = 10
"""Below this many clusters a percentile interval is known to be too narrow, and its method says so."""
_CHUNK = 4_000_000
"""Weights held at a time, so that memory does not grow with draws x clusters."""


def cluster_codes(keys: Sequence[Hashable]) -> Codes:
    """
    Number the clusters 0, 1, ... in order of first appearance: rows with equal keys belong together.

    Answers to one prompt (or turns of one conversation) are not independent, so the key of a row is its prompt's
    identity. A row whose key is None stands alone.
    """
    seen: dict[Hashable, int] = {}
    codes = np.empty(len(keys), dtype=np.intp)
    for row, key in enumerate(keys):
        # Tagged, so that no key can be mistaken for the number of a row that stands alone.
        codes[row] = seen.setdefault(("alone", row) if key is None else ("key", key), len(seen))
    return codes


def cluster_weights(num_clusters: int, *, draws: int, seed: int) -> Iterator[Floats]:
    """
    Yield how often each cluster is drawn in each bootstrap draw, in chunks of (draws of the chunk, num_clusters).

    Every draw takes `num_clusters` clusters with replacement. The chunks depend on the arguments alone, so two
    statistics that are computed from the same call are paired draw by draw.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // max(1, num_clusters))
    for start in range(0, draws, rows):
        num = min(rows, draws - start)
        picked = rng.integers(num_clusters, size=(num, num_clusters))
        # One count for all draws of the chunk: each draw has a stretch of numbers of its own.
        flat = (picked + num_clusters * np.arange(num)[:, None]).ravel()
        yield np.bincount(flat, minlength=num * num_clusters).reshape(num, num_clusters).astype(np.float64)


def percentile_interval(draws_D: Floats, level: float) -> tuple[float, float]:
    """Return the ends of the central `level` share of the draws (Efron's percentile interval)."""
    low, high = np.quantile(draws_D, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def expanded_interval(draws_D: Floats, num_clusters: int) -> tuple[float, float]:
    """
    Return Hesterberg's expanded percentile interval (Am. Stat. 69, 2015, 371-386, section 5.3).

    Resampling n clusters gives a spread that is too small by sqrt((n - 1) / n), and percentiles know nothing of the t
    distribution: so the tails that are cut off are those of a normal variable beyond sqrt(n / (n - 1)) * t(n - 1).
    """
    from scipy.special import ndtr

    beyond = np.sqrt(num_clusters / (num_clusters - 1)) * t_quantile(UPPER, num_clusters - 1)
    return percentile_interval(draws_D, float(2 * ndtr(beyond) - 1))


def p_value_of_draws(draws_D: Floats) -> float:
    """Return the two-sided p-value that a statistic is zero: twice the smaller share of its draws beyond zero."""
    # The sample itself counts as one more draw, so that p is never 0.
    fewer = min(int((draws_D <= 0).sum()), int((draws_D >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(draws_D) + 1))


def normal_quantile(share: float) -> float:
    """Return the value that a standard normal variable stays below with this probability."""
    # scipy is imported where it is used: feedback is examined with the AUC of this package, and must not wait for it.
    from scipy.special import ndtri

    return float(ndtri(share))


def t_quantile(share: float, degrees_of_freedom: float) -> float:
    """Return the value that a variable of Student's t distribution stays below with this probability."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, share))


def bootstrap_method(num_clusters: int, draws: int) -> str:
    """Describe how a percentile interval was made, with a warning where it rests on few clusters."""
    method = f"percentile bootstrap over {num_clusters} prompts, {draws} draws"
    if num_clusters < FEW_CLUSTERS:
        method += f"; fewer than {FEW_CLUSTERS} prompts, so the interval is probably too narrow"
    return method


def finite(values: ArrayLike, name: str) -> Floats:
    """Return the values as float64; raise DataError for one that is not finite, which would spoil a mean silently."""
    value_N = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(value_N))
    if len(bad):
        raise DataError(f"{name}: value {value_N[bad[0]]} of row {bad[0]} is not finite ({len(bad)} such rows)")
    return value_N


def codes_for(value_N: Floats, keys: Sequence[Hashable], name: str) -> Codes:
    """Return the cluster of each value; raise DataError unless there is one key a value."""
    if value_N.ndim != 1 or len(value_N) != len(keys):
        raise DataError(f"{name}: {len(keys)} prompt keys for values of shape {value_N.shape}; give one key a value")
    return cluster_codes(keys)


def require_same_prompts(before_keys: Sequence[Hashable], after_keys: Sequence[Hashable], name: str) -> None:
    """Raise DataError for sides about different prompts: a difference would mix models with prompts."""
    if None in before_keys or None in after_keys:
        raise DataError(
            f"{name}: a prompt key is None, so before and after cannot be matched; give every row its prompt"
        )
    unmatched = sorted(set(before_keys) ^ set(after_keys), key=repr)
    if unmatched:
        raise DataError(
            f"{name}: before and after must be about the same prompts, but {unmatched[0]!r} is on one side only "
            f"({len(unmatched)} such prompts); leave those prompts out of both"
        )
