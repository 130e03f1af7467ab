"""Mismatched completions y' of prompts x for the reference point: never one that answers the same prompt."""

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError


def mismatched(
    rows: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator, everything: NDArray[np.int64]
) -> NDArray[np.int64]:
    """
    Return for each of the step's rows another row, whose completion is scored under the first one's prompt, (n,).

    Within the step the partners are a permutation of the rows: rows are laid out group by group and shifted by the
    size of the largest group, which pairs as many as can be paired. What is left over (only when one prompt has more
    than half of the step) borrows a partner from `everything`, the rows of the whole data set.

    Args:
        rows: the step's rows, (n,).
        group: the prompt of every row of the data set; rows with equal numbers answer the same prompt.
        rng: decides the layout; the result is a pure function of its state and the other arguments.
        everything: the rows to borrow from.

    Raises:
        DataError: all rows of the data set answer one prompt.
    """
    layout = _by_group(rows, group, rng)
    _, sizes = np.unique(group[rows], return_counts=True)
    # Groups lie side by side, so that a shift by the largest of them leads out of every group, as long as none has more
    # than half of the rows.
    partner = np.roll(layout, -int(sizes.max()))
    for i in np.flatnonzero(group[layout] == group[partner]):
        partner[i] = _borrowed(int(group[layout[i]]), group, rng, everything)
    # Back from the layout's order to that in which the rows were given.
    order = np.argsort(layout, kind="stable")
    rank = np.argsort(np.argsort(rows, kind="stable"), kind="stable")
    partners: NDArray[np.int64] = partner[order][rank]
    return partners


def _by_group(rows: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows with equal groups side by side, groups and rows within them in random order."""
    # Sorted before they are shuffled: the result follows from which rows there are, not from the order they came in.
    shuffled = rng.permutation(np.sort(rows))
    _, first, inverse = np.unique(group[shuffled], return_index=True, return_inverse=True)
    return shuffled[np.argsort(first[inverse], kind="stable")]


def _borrowed(avoid: int, group: NDArray[np.int64], rng: np.random.Generator, everything: NDArray[np.int64]) -> int:
    """Draw a row of the data set that answers another prompt than `avoid`."""
    # A few draws succeed nearly always, where a list of all others would cost a pass over the data set.
    for _ in range(16):
        candidate = int(rng.choice(everything))
        if group[candidate] != avoid:
            return candidate
    others = everything[group[everything] != avoid]
    if len(others) == 0:
        raise DataError(
            "all rows answer the same prompt, so there is no mismatched completion for a reference point; "
            "add feedback on other prompts, or use a loss without a reference point"
        )
    return int(rng.choice(others))
