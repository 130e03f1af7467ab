"""Numbers at the tokens of a step's sequences: one flat table of fixed shape, whoever fills which part of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """A value at each token of n sequences, end to end."""

    values: Numbers
    lengths: NDArray[np.int64]

    @classmethod
    def zeros(cls, lengths: NDArray[np.integer]) -> "Ragged":
        """A table of zeros for sequences of these lengths."""
        return cls(np.zeros(int(lengths.sum())), lengths.astype(np.int64))

    def at(self, rows: NDArray[np.int64]) -> Numbers:
        """The values of these sequences, end to end."""
        return self.values[self._places(rows)]

    def put(self, rows: NDArray[np.int64], values: Sequence[Numbers]) -> None:
        """Set the values of these sequences, an array each."""
        if len(rows):
            self.values[self._places(rows)] = np.concatenate(values)

    def totals(self) -> Numbers:
        """The sum of each sequence's values."""
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        found: Numbers = np.bincount(owner, self.values, len(self.lengths)).astype(np.float64)
        return found

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        start = np.cumsum(self.lengths) - self.lengths
        return np.concatenate([np.empty(0, np.int64), *(np.arange(start[i], start[i] + self.lengths[i]) for i in rows)])
