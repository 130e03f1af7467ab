"""
Tensors in safetensors files that any number of processes write and read, each its own rows.

    weights.safetensors             all of them, of one process
    weights-2-of-4.safetensors      the rows that the second of four processes holds

Where a file's rows begin is in its header. Whole tensors beside shards are in the first process's file.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from haloes.errors import RunError
from haloes.models.weight_shards import in_first_copy, is_shard, local, rows_of
from haloes.training.distributed import Ranks

_BEGINS = "first rows"


def file_name(kind: str, index: int, count: int) -> str:
    """Return the name of the file of process `index` of `count`."""
    return f"{kind}.safetensors" if count == 1 else f"{kind}-{index + 1}-of-{count}.safetensors"


@dataclass(frozen=True, slots=True)
class HeldTensors:
    """What one process holds of some tensors, and writes."""

    tensors: Mapping[str, Tensor]
    begins: Mapping[str, int]
    """The first row of each that is a shard."""

    @property
    def nbytes(self) -> int:
        """Return the bytes that they take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def copied(self) -> "HeldTensors":
        """Return the same in memory of their own on the host: what becomes of the originals does not change it."""
        return HeldTensors({name: tensor.to("cpu", copy=True) for name, tensor in self.tensors.items()}, self.begins)

    def write(self, folder: Path, kind: str, ranks: Ranks) -> Path:
        """Write them into this process's file, and return it."""
        path = folder / file_name(kind, ranks.index, ranks.count)
        header = {_BEGINS: json.dumps(dict(self.begins))} if self.begins else None
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, path, metadata=header)
        return path


def held(tensors: Mapping[str, Tensor], ranks: Ranks) -> HeldTensors:
    """Return what this process holds of the tensors, without a copy: whole ones are the main process's."""
    # Of several copies of a weight the first is written.
    own = {
        name: tensor
        for name, tensor in tensors.items()
        if (in_first_copy(tensor) if is_shard(tensor) else ranks.is_main)
    }
    begins = {name: rows_of(tensor).start for name, tensor in own.items() if is_shard(tensor)}
    return HeldTensors({name: local(tensor) for name, tensor in own.items()}, begins)


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of a tensor that one file holds."""

    file: Any
    begin: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SavedTensors:
    """Tensors in the files of one folder."""

    parts: Mapping[str, list[_Part]]
    """The parts of each, in the order of their rows."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a whole tensor."""
        last = self.parts[name][-1]
        return (last.begin + last.shape[0], *last.shape[1:]) if last.shape else ()

    def whole(self, name: str) -> Tensor:
        """Return a whole tensor."""
        parts: list[Tensor] = [part.file.get_tensor(name) for part in self.parts[name]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def like(self, name: str, tensor: Tensor | None) -> Tensor:
        """Return a tensor in shards as those of another one, where that one is of the same shape; else a whole one."""
        if tensor is None or not is_shard(tensor) or self.shape(name) != tuple(tensor.shape):
            return self.whole(name)
        found = torch.empty_like(tensor)
        self.read_into(name, found)
        return found

    def read_into(self, name: str, tensor: Tensor) -> None:
        """Write a saved tensor's values over those of one of its shape: of a shard only its own rows are read."""
        if not tensor.ndim:
            tensor.copy_(self.whole(name))
            return
        own, held = rows_of(tensor), local(tensor)
        for part in self.parts[name]:
            begin, end = max(own.start, part.begin), min(own.stop, part.begin + part.shape[0])
            if begin < end:
                rows = part.file.get_slice(name)[begin - part.begin : end - part.begin]
                held[begin - own.start : end - own.start].copy_(rows)


@contextmanager
def opened(folder: Path, kind: str) -> Iterator[SavedTensors]:
    """
    Open the files of one kind in a folder, of however many processes.

    Raises RunError where rows of a tensor are in none of them.
    """
    with ExitStack() as files:
        parts: dict[str, list[_Part]] = {}
        for path in [*folder.glob(f"{kind}.safetensors"), *folder.glob(f"{kind}-*-of-*.safetensors")]:
            file: Any = files.enter_context(safe_open(path, framework="pt"))
            begins = json.loads((file.metadata() or {}).get(_BEGINS, "{}"))
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                shape = tuple(file.get_slice(name).get_shape())
                parts.setdefault(name, []).append(_Part(file, begins.get(name, 0), shape))
        for name, held in parts.items():
            # An empty part begins where the next one does.
            held.sort(key=lambda part: (part.begin, part.shape[:1]))
            ends = [0, *(part.begin + (part.shape or (0,))[0] for part in held[:-1])]
            if [part.begin for part in held] != ends:
                raise RunError(f"{folder} does not hold all rows of {name}")
        yield SavedTensors(parts)
