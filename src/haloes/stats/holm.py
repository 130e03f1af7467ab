"""Holm's step-down correction: several comparisons, one chance of a false alarm."""

from collections.abc import Sequence

import numpy as np

from haloes.errors import DataError


def holm(p: Sequence[float]) -> list[float]:
    """
    Holm's adjusted p-values (Scand. J. Statist. 6, 1979, 65-70), in the order of the raw ones.

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
    stepped = np.maximum.accumulate(p_N[order] * np.arange(len(p_N), 0, -1))
    adjusted = np.empty_like(p_N)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
