"""A reference that moves: the policy as it was when the reference was last synced with it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from haloes.models.forward import Scorer


class Synced:
    """
    The trained weights of some step, and the model with them in place of the present ones.

    Called, it is a context in which the scorer is the reference. It costs one copy of the *trainable* weights.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], scorer: Scorer) -> None:
        """The reference is the policy of now."""
        self._parameters, self._scorer = dict(parameters), scorer
        self._weights: dict[str, Tensor] = {}
        self.sync()

    @contextmanager
    def __call__(self) -> Iterator[Scorer]:
        """Inside the context the model is the reference."""
        self._swap()
        try:
            yield self._scorer
        finally:
            self._swap()

    def sync(self) -> None:
        """From now on the reference is the policy of now."""
        self._weights = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def state(self) -> dict[str, Tensor]:
        """The reference's weights by name, to be saved."""
        return {name: weight.contiguous() for name, weight in self._weights.items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Put saved weights back."""
        for name, weight in self._weights.items():
            weight.copy_(weights[name])

    def _swap(self) -> None:
        """Exchange the storage of the present weights and the kept ones, without a copy."""
        for name, parameter in self._parameters.items():
            parameter.data, self._weights[name] = self._weights[name], parameter.data
