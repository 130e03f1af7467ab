"""The numbers of a step's micro-batches, on the device until the step is done."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from haloes.losses._contract import LossOutput, Scored
from haloes.stats.bootstrap import Floats
from haloes.training.prefetch import to_numpy
from haloes.training.step_split import MicroBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNumbers:
    """The tables that a process's micro-batches fill in, in float64: they are summed over whole steps."""

    logp: Floats
    """log p_policy(y|x) of each sequence, (S,)."""
    reward: Floats
    """The reward head's number for each sequence, (S,)."""
    loss: Floats
    """The loss of each example, (E,)."""
    metrics: dict[str, Floats]
    """Each metric of the loss by name, (E,)."""
    waiting: list[tuple[Floats, NDArray[np.int64], Tensor]] = field(default_factory=list)
    """Values that are still on the device, with the table and the rows that they belong to."""

    @classmethod
    def zeros(cls, num_sequences: int, num_examples: int, metrics: Sequence[str]) -> "StepNumbers":
        """Return tables of zeros: with a row for each sequence, and with one for each example and metric."""
        return cls(
            logp=np.zeros(num_sequences),
            reward=np.zeros(num_sequences),
            loss=np.zeros(num_examples),
            metrics={name: np.zeros(num_examples) for name in metrics},
        )

    def add(self, part: MicroBatch, scores: Scored, output: LossOutput) -> None:
        """Note a micro-batch's numbers without waiting for the device to compute them."""
        # Detached, or the numbers would hold the graph and its activations until the end of the step.
        if scores.logps is not None:
            self.waiting.append((self.logp, part.rows, scores.logps.total().detach()))
        if scores.reward_B is not None:
            self.waiting.append((self.reward, part.rows, scores.reward_B.detach()))
        self.waiting.append((self.loss, part.examples, output.per_example.detach()))
        for name, table in self.metrics.items():
            self.waiting.append((table, part.examples, output.metrics[name].detach()))

    def fetch(self) -> None:
        """Fill the tables, with one copy from the device for all micro-batches."""
        values = to_numpy([tensor_B for _, _, tensor_B in self.waiting])
        for (table, rows, _), numbers in zip(self.waiting, values, strict=True):
            table[rows] = numbers

    def columns(self) -> list[Floats]:
        """Return the tables, to be summed over the processes in place."""
        return [self.logp, self.reward, self.loss, *self.metrics.values()]
