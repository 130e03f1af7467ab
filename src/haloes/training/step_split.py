"""How a step's work is split into micro-batches and over processes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haloes.training.completion_logps import Pass, SequencePairs


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Examples that go through the model together."""

    examples: NDArray[np.int64]
    """Their places among the step's examples, (B,)."""
    rows: NDArray[np.int64]
    """The rows of their sequences among the step's: the same, or all chosen and then all rejected."""


@dataclass(frozen=True, slots=True)
class StepSplit:
    """A whole step's sequences, and this process's part of the work on them."""

    sequences: NDArray[np.int64]
    """The step's sequences in the store, a row each: its examples, or all chosen and then all rejected completions."""
    micro_batches: list[MicroBatch]
    """This process's."""
    mismatched: SequencePairs
    """The step's (x, y'), a row an example; none where the loss needs none."""
    mismatched_lengths: NDArray[np.int64]
    """Trained tokens of each."""
    mismatched_bins: list[list[int]]
    """This process's: rows of `mismatched` that go through the model together."""

    @property
    def own_rows(self) -> NDArray[np.int64]:
        """Return the rows of this process's sequences, ascending."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *(part.rows for part in self.micro_batches)]))

    @property
    def own_mismatched(self) -> NDArray[np.int64]:
        """Return the rows of this process's (x, y'), ascending."""
        return np.array(sorted(i for members in self.mismatched_bins for i in members), np.int64)

    def passes(self, *, continues: bool) -> list[Pass]:
        """
        Return how the policy goes through this process's (x, y) and (x, y').

        Places are those of `own_rows` and, behind them, of `own_mismatched`; `continues`: the latter continue from the
        prompts of the only micro-batch.
        """
        rows, after = self.own_rows, self.own_mismatched
        matched = [np.searchsorted(rows, part.rows).tolist() for part in self.micro_batches]
        if continues:
            return [Pass(members, range(len(rows), len(rows) + len(after))) for members in matched]
        bins = [(np.searchsorted(after, members) + len(rows)).tolist() for members in self.mismatched_bins]
        return [Pass(members) for members in [*matched, *bins]]
