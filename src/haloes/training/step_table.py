"""
What is known of one optimizer step, a row an example or a sequence of the *whole* step.

A process fills in the rows that it worked on and leaves zeros elsewhere, so that one sum of fixed shape over the
processes completes a table, whatever labels, and however many rows, each of them had.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.schedule import Step
from haloes.losses._contract import Logps, Scored
from haloes.models.transfer import moved, to_device
from haloes.training.ragged import Numbers, Ragged
from haloes.training.scoring import Known


@dataclass(frozen=True, slots=True)
class Table:
    """A step's numbers, complete on every process."""

    step: Step
    sequences: NDArray[np.int64]
    """The step's sequences in the store: the examples, or all chosen and then all rejected completions."""
    weight: Numbers
    """Of each example; they add up to 1."""
    loss: Numbers
    """Of each example, unweighted."""
    metrics: Mapping[str, Numbers]
    """The loss's own, of each example."""
    logp: Numbers | None
    """log p_policy(y|x) of each sequence; None for a loss that reads none."""
    log_ratio: Numbers | None
    """log p_policy - log p_reference of each sequence; None for a loss without a reference."""
    mismatched: Numbers | None
    """log p_policy - log p_reference of (x, y') for each example; None for a loss without mismatched completions."""
    reward: Numbers | None = None
    """What the reward head gives each sequence; None for a loss without one."""


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """What the reference says of a step's sequences."""

    total: Numbers
    """log p_reference(y|x) of each."""
    token: Ragged | None
    """log p_reference of each token, where the loss needs it."""

    @classmethod
    def of(cls, found: Known, part: slice, rows: NDArray[np.int64], lengths: NDArray[np.integer]) -> "ReferenceTable":
        """A part of what was found, put into these rows of a table with one row for each of the lengths."""
        total = np.zeros(len(lengths))
        total[rows] = found.totals[part]
        if found.tokens is None:
            return cls(total, None)
        token = Ragged.zeros(lengths)
        token.put(rows, found.tokens[part])
        return cls(total, token)

    def columns(self) -> list[Numbers]:
        """Its numbers, to be summed over the processes in place."""
        return [self.total] if self.token is None else [self.total, self.token.values]


@dataclass(frozen=True, slots=True)
class MismatchedTable:
    """A step's mismatched completions (x, y')."""

    policy: Ragged
    """log p_policy of each token."""
    reference: ReferenceTable | None
    """None for a loss without a reference."""

    def columns(self) -> list[Numbers]:
        """Its numbers, to be summed over the processes in place."""
        return [self.policy.values, *([] if self.reference is None else self.reference.columns())]

    def log_ratio(self) -> Numbers | None:
        """log p_policy - log p_reference of each."""
        return None if self.reference is None else self.policy.totals() - self.reference.total

    def scored(self, device: torch.device) -> Scored:
        """Return what a loss is given: the scores of all (x, y') as tensors on this device."""
        token = None if self.reference is None else self.reference.token
        return Scored(
            Logps(tensor(self.policy.values, device), to_device(self.policy.lengths.copy(), device)),
            reference_B=None if self.reference is None else tensor(self.reference.total, device),
            reference_T=None if token is None else tensor(token.values, device),
        )


def tensor(values: NDArray[np.floating], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers of a table as a tensor; float32 is what losses are computed in, whatever the model is."""
    return moved(torch.from_numpy(np.array(values)).to(dtype), device)
