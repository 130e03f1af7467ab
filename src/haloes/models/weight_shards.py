"""
Weights of which each process may hold a part only: whether it does, which part, and reading and writing it.

A weight of shards (torch's DTensor) is cut into rows, as evenly as its first dimension allows. There may be several
copies of it, over as many groups of processes.
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
    # The last dimension of the processes is that of a copy's parts.
    parts = shard.device_mesh.ndim - 1
    each = -(-len(weight) // shard.device_mesh.size(parts))
    begin = min(each * shard.device_mesh.get_local_rank(parts), len(weight))
    return slice(begin, begin + len(local(weight)))


def put(weight: Tensor, values: Tensor) -> None:
    """Write the values of all of a weight into a weight, in place: each process its own part, without the others."""
    local(weight).copy_(values[rows_of(weight)] if values.ndim else values)


def in_first_copy(weight: Tensor) -> bool:
    """Return whether what this process holds of a weight of shards is of the first of its copies."""
    mesh: Any = getattr(weight, "device_mesh")  # noqa: B009 - only shards have one
    return bool(mesh.ndim == 1 or mesh.get_local_rank(0) == 0)


def whole(weight: Tensor) -> Tensor:
    """Return all of a weight, without its gradient; the processes that hold it come here together."""
    held: Any = weight.detach()
    found: Tensor = held.full_tensor() if is_shard(weight) else held
    return found
