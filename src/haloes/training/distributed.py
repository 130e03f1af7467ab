"""The processes of a run: which of them this is, and what they do together."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor

from haloes.training.process_group import GRADIENTS, TABLES, ProcessGroup, join

T = TypeVar("T")
_BUCKET = 16 * 2**20
"""Floats that are reduced with one call."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the run's."""

    index: int
    count: int
    group: ProcessGroup | None = field(default=None, compare=False, repr=False)
    """The connection with the others; None for a process alone."""

    @property
    def is_main(self) -> bool:
        """Return whether this process writes files and shows progress."""
        return self.index == 0

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this process's part of the items; the parts of all processes are disjoint and make up the whole."""
        # In turn: micro-batches come with those of overlong examples first, which then do not all go to one process.
        return list(items[self.index :: self.count])

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the elementwise sum over all processes. The tensor has the same shape on each, and is on a CPU."""
        if self.group is None:
            return tensor
        total = tensor.clone()
        self.group.add_up(total, longest=TABLES)
        return total

    def sum_each(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in a few calls for many small tensors."""
        if self.group is None or not tensors:
            return
        for bucket in _buckets(tensors):
            total = torch.cat([tensor.flatten() for tensor in bucket])
            # They come here together, from the sum of the step's tables: who is late now has died or hangs.
            self.group.add_up(total, longest=GRADIENTS)
            for tensor, part in zip(bucket, total.split([t.numel() for t in bucket]), strict=True):  # type: ignore[no-untyped-call]
                tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any process."""
        return bool(self.sum(torch.tensor(float(flag))) > 0)

    def broadcast(self, value: T) -> T:
        """Return the main process's value, which JSON can say, on all of them; the others wait as long as it takes."""
        if self.group is None:
            return value
        found: T = json.loads(self.group.from_main(json.dumps(value).encode() if self.is_main else b""))
        return found

    def from_main(self, work: Callable[[], T]) -> T:
        """Do work in the main process alone, and return what it comes to, which JSON can say, on all of them."""
        found = cast("T", work() if self.is_main else None)  # the other ones' is not looked at
        return self.broadcast(found)

    def gather(self, value: bytes) -> list[bytes]:
        """Return the bytes of every process, in their order."""
        return [value] if self.group is None else self.group.from_all(value)

    def barrier(self) -> None:
        """Wait until every process has come here, however long one of them works alone."""
        if self.group is not None:
            self.group.meet()


def this_rank(device: torch.device) -> Ranks:
    """Return this process among those of `torchrun` (gloo on a CPU, NCCL on GPUs); without it, the only one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks(0, 1)
    group = join(uses_gpus=device.type == "cuda")
    return Ranks(group.index, group.count, group)


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
