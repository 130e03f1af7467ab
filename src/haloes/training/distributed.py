"""The processes of a run: which of them this is, and what they do together, on accelerate's process group."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
_BUCKET = 16 * 2**20
"""Floats that are reduced with one call."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the run's."""

    index: int
    count: int

    @property
    def is_main(self) -> bool:
        """Return whether this process writes files and shows progress."""
        return self.index == 0

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this process's part of the items; the parts of all processes are disjoint and make up the whole."""
        # In turn: micro-batches come with those of overlong examples first, which then do not all go to one process.
        return list(items[self.index :: self.count])

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the elementwise sum over all processes. The tensor has the same shape on each."""
        if self.count == 1:
            return tensor
        from accelerate.utils import reduce

        total: Tensor = reduce(tensor, "sum")
        return total

    def sum_each(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in a few calls for many small tensors."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            total = self.sum(torch.cat([tensor.flatten() for tensor in bucket]))
            for tensor, part in zip(bucket, total.split([t.numel() for t in bucket]), strict=True):  # type: ignore[no-untyped-call]
                tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set on any process."""
        return bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def broadcast(self, value: T) -> T:
        """Return the main process's value, on all of them."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        shared = [value]
        broadcast_object_list(shared)
        return shared[0]

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def this_rank(device: torch.device) -> Ranks:
    """Return this process among those of `torchrun` (gloo on a CPU, NCCL on GPUs); without it, the only one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks(0, 1)
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu")
    return Ranks(state.process_index, state.num_processes)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group tensors, in their order, into buckets of up to `_BUCKET` numbers; a larger tensor is alone."""
    buckets: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if buckets[-1] and size + tensor.numel() > _BUCKET:
            buckets.append([])
            size = 0
        buckets[-1].append(tensor)
        size += tensor.numel()
    return buckets
