"""A reference that waits in a file: weights that take no memory beside the model's own while nobody asks for them."""

import math
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from haloes.models.forward import Scorer

_ALIGNED = 64
"""Bytes at whose multiples a weight begins in the file, as matrix products like it."""


class Parked:
    """
    A model's weights as they were, in a file without a name, and the model with them in place of the present ones.

    Called, it is a context in which the scorer is the reference. The file is mapped into memory only inside of it, and
    read from the system's cache without a copy; it is gone with this object, or with the process however that ends.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], scorer: Scorer, *, folder: Path) -> None:
        """
        The reference is the model of now.

        Args:
            parameters: every weight that training may change, in host memory.
            scorer: of their model.
            folder: where the file is; it is made if need be.

        Raises:
            OSError: the file cannot be written.
        """
        self._parameters, self._scorer = dict(parameters), scorer
        self._starts: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this object lives
        close = weakref.finalize(self, self._file.close)
        try:
            for name, parameter in self._parameters.items():
                self._file.seek(math.ceil(self._file.tell() / _ALIGNED) * _ALIGNED)
                self._starts[name] = self._file.tell()
                self._file.write(_bytes(parameter.detach()).numpy().data)
            self._file.flush()
        except OSError:
            close()
            raise

    @contextmanager
    def __call__(self) -> Iterator[Scorer]:
        """Inside the context the model is the reference."""
        present = {name: parameter.data for name, parameter in self._parameters.items()}
        self._put(self._mapped())
        try:
            yield self._scorer
        finally:
            self._put(present)

    def _mapped(self) -> dict[str, Tensor]:
        # "c": whoever wrote to these weights would change neither the file nor the next mapping of it.
        data = torch.from_numpy(np.memmap(self._file, np.uint8, mode="c"))
        return {
            name: data[self._starts[name] :][: parameter.nbytes].view(parameter.dtype).view(parameter.shape)
            for name, parameter in self._parameters.items()
        }

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.data = weights[name]


def _bytes(weight: Tensor) -> Tensor:
    return weight.contiguous().reshape(-1).view(torch.uint8)
