"""Weights as they were, in a file without a name: read from the disk when they are wanted, with no copy in memory."""

import math
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

_ALIGNED = 64
"""Bytes at whose multiples a weight begins in the file, as matrix products like it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a weight lies in the file, and how to read it."""

    start: int
    num_bytes: int
    dtype: torch.dtype
    shape: torch.Size

    def read(self, data: Tensor) -> Tensor:
        """Return the weight out of the bytes of the file, without a copy."""
        if not self.num_bytes:  # such as a process's part of a weight with fewer rows than processes
            return torch.empty(self.shape, dtype=self.dtype)
        return data[self.start :][: self.num_bytes].view(self.dtype).view(self.shape)


class WeightsFile:
    """Weights by name in a file that is gone with this object, or with the process however that ends."""

    def __init__(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """
        Write the weights, as they are now, one after the other.

        Args:
            weights: by name; on whichever device.
            folder: where the file is; it is made if need be.

        Raises:
            OSError: the file cannot be written.
        """
        self._places: dict[str, _Place] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this object lives
        # It lives as long as what reads it, and has no owner that would close it.
        close = weakref.finalize(self, self._file.close)
        try:
            for name, weight in weights.items():
                self._file.seek(math.ceil(self._file.tell() / _ALIGNED) * _ALIGNED)
                self._places[name] = _Place(self._file.tell(), weight.nbytes, weight.dtype, weight.shape)
                self._file.write(_bytes(weight).numpy().data)
            # A file of no bytes cannot be mapped.
            self._file.write(b"\0")
            self._file.flush()
        except OSError:
            close()
            raise

    def read(self) -> dict[str, Tensor]:
        """Return the weights by name, in host memory: a new mapping of the file, which is read as they are used."""
        # "c": a write to these weights would change neither the file nor the next mapping of it.
        data = torch.from_numpy(np.memmap(self._file, np.uint8, mode="c"))
        return {name: place.read(data) for name, place in self._places.items()}


def _bytes(weight: Tensor) -> Tensor:
    return weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
