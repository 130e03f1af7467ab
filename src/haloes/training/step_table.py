"""
Tables of one optimizer step's numbers, with a row for each example or sequence of the *whole* step.

A process fills in the rows that it worked on and leaves zeros elsewhere, so that one sum of fixed shape over the
processes completes a table, whatever labels, and however many rows, each of them had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.schedule import Step
from haloes.losses._contract import Logps, Scored
from haloes.models.device import moved, to_device
from haloes.stats.bootstrap import Floats
from haloes.training.completion_logps import ReferenceScores


@dataclass(frozen=True, slots=True)
class Ragged:
    """A value at each token of n sequences, end to end."""

    values: Floats
    lengths: NDArray[np.int64]

    @classmethod
    def zeros(cls, lengths: NDArray[np.integer]) -> "Ragged":
        """Return a table of zeros for sequences of these lengths."""
        return cls(np.zeros(int(lengths.sum())), lengths.astype(np.int64))

    def at(self, rows: NDArray[np.int64]) -> Floats:
        """Return the values of these sequences, end to end."""
        return self.values[self._places(rows)]

    def put(self, rows: NDArray[np.int64], values: Sequence[Floats]) -> None:
        """Set the values of these sequences, an array each."""
        if len(rows):
            self.values[self._places(rows)] = np.concatenate(values)

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the values of these sequences stand, sequence by sequence."""
        start = np.cumsum(self.lengths) - self.lengths
        return np.concatenate([np.empty(0, np.int64), *(np.arange(start[i], start[i] + self.lengths[i]) for i in rows)])


@dataclass(frozen=True, slots=True)
class Table:
    """A step's numbers, complete on every process."""

    step: Step
    sequences: NDArray[np.int64]
    """The step's sequences in the store: the examples, or all chosen and then all rejected completions."""
    weight: Floats
    """Weight of each example, (E,); they add up to 1."""
    loss: Floats
    """Unweighted loss of each example, (E,)."""
    metrics: Mapping[str, Floats]
    """The loss's own metrics, (E,) each."""
    logp: Floats | None
    """log p_policy(y|x) of each sequence, (S,); None for a loss that reads none."""
    log_ratio: Floats | None
    """log p_policy - log p_reference of each sequence, (S,); None for a loss without a reference."""
    mismatched: Floats | None
    """log p_policy - log p_reference of (x, y') for each example; None for a loss without mismatched completions."""
    reward: Floats | None = None
    """The reward head's number for each sequence, (S,); None for a loss without one."""


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """Reference log-probabilities of a step's sequences."""

    total: Floats
    """log p_reference(y|x) of each."""
    token: Ragged | None
    """log p_reference of each token, where the loss needs it."""

    @classmethod
    def of(
        cls, scores: ReferenceScores, part: slice, rows: NDArray[np.int64], lengths: NDArray[np.integer]
    ) -> "ReferenceTable":
        """Return a table with a row for each of the lengths: part of the scores in these rows, zeros elsewhere."""
        total = np.zeros(len(lengths))
        total[rows] = scores.totals[part]
        if scores.tokens is None:
            return cls(total, None)
        token = Ragged.zeros(lengths)
        token.put(rows, scores.tokens[part])
        return cls(total, token)

    def columns(self) -> list[Floats]:
        """Return its numbers, to be summed over the processes in place."""
        return [self.total] if self.token is None else [self.total, self.token.values]


@dataclass(frozen=True, slots=True)
class MismatchedTable:
    """A step's mismatched completions (x, y')."""

    policy: Ragged
    """log p_policy of each token."""
    reference: ReferenceTable | None
    """None for a loss without a reference."""

    def columns(self) -> list[Floats]:
        """Return its numbers, to be summed over the processes in place."""
        return [self.policy.values, *([] if self.reference is None else self.reference.columns())]

    def log_ratio(self) -> Floats | None:
        """Return log p_policy - log p_reference of each, (M,) in nats; None without a reference."""
        if self.reference is None:
            return None
        # As the losses compute it: added up otherwise, equal tokens would have totals that are not quite equal.
        found: Floats = self.scored(torch.device("cpu")).log_ratio().double().numpy()
        return found

    def scored(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Scored:
        """Return what a loss is given: the scores of all (x, y') as tensors on this device."""
        token = None if self.reference is None else self.reference.token
        return Scored(
            Logps(tensor(self.policy.values, device, dtype), to_device(self.policy.lengths.copy(), device)),
            reference_B=None if self.reference is None else tensor(self.reference.total, device, dtype),
            reference_T=None if token is None else tensor(token.values, device, dtype),
        )


def tensor(values: NDArray[np.floating], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers of a table as a tensor; float32 is what losses are computed in, whatever the model is."""
    return moved(torch.from_numpy(np.array(values)).to(dtype), device)
