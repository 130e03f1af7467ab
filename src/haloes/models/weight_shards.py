"""
Weights of which each process may hold a part only: whether it does, which part, and reading and writing it.

A weight of shards (torch's DTensor) is cut into rows, as evenly as its first dimension allows.
"""

from typing import Any

from torch import Tensor


def is_shard(weight: Tensor) -> bool:
    """Return whether this process holds but a part of the weight."""
    # Not by its class: importing it takes seconds, and most runs have no shards.
    return hasattr(weight, "device_mesh")


def local(weight: Tensor) -> Tensor:
    """Return what this process holds of a weight, without its gradient: all of it where it is no shard."""
    held: Any = weight.detach()
    found: Tensor = held.to_local() if is_shard(weight) else held
    return found


def rows_of(weight: Tensor) -> slice:
    """Return which rows of a weight this process holds."""
    if not is_shard(weight):
        return slice(0, len(weight))
    shard: Any = weight
    each = -(-len(weight) // shard.device_mesh.size())
    begin = min(each * shard.device_mesh.get_local_rank(), len(weight))
    return slice(begin, begin + len(local(weight)))


def put(weight: Tensor, values: Tensor) -> None:
    """Write the values of all of a weight into a weight, in place: each process its own part, without the others."""
    local(weight).copy_(values[rows_of(weight)] if values.ndim else values)


def whole(weight: Tensor) -> Tensor:
    """Return all of a weight, without its gradient; the processes that hold it come here together."""
    held: Any = weight.detach()
    found: Tensor = held.full_tensor() if is_shard(weight) else held
    return found
