"""
The kinds of reference: a context in which a policy's scorer computes as the model before training, or as another one.

    adapter_off        the trained model without its adapter: costs nothing (LoRA)
    copied             a copy of weights that are about to be trained: in a file on a CPU, in memory elsewhere
    frozen             another model, which is not trained
    SyncedReference    the policy as it was when the reference was last synced with it

Nothing of a reference is ever loaded again by its name: what a name leads to may change.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from haloes.models.cache import cache_dir
from haloes.models.forward import Scorer, is_sharded
from haloes.models.lm_head import Head
from haloes.models.quiet import quiet
from haloes.models.unread_weights import files_of, is_stand_in, stand_in, with_weights
from haloes.models.weights_file import WeightsFile

Reference: TypeAlias = Callable[[], AbstractContextManager[Scorer]]
"""Inside the context the scorer is the reference: the same weights before training, or another model."""


def adapter_off(peft_model: Any, scorer: Scorer) -> Reference:
    """Return the base model under an adapter as the reference."""
    with quiet():  # peft imports bitsandbytes, which may log that it lacks a package nobody needs
        from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in peft_model.modules() if isinstance(module, BaseTunerLayer)]

    # The layers' own flag: peft's `disable_adapter` freezes the adapters too, weight by weight and for every pass, and
    # a pass through frozen shards would decide the dtype of all gradients to come.
    def switch(*, off: bool) -> None:
        for layer in layers:
            layer._disable_adapters = off  # noqa: SLF001

    @contextmanager
    def reference() -> Iterator[Scorer]:
        switch(off=True)
        try:
            yield scorer
        finally:
            switch(off=False)

    return reference


def copied(model: Any, scorer: Scorer) -> Reference:
    """Return a copy of a model that is about to be trained: in a file where its weights are host memory."""
    if files_of(model) is not None:
        # A second model of which each process will read its rows.
        return frozen(with_weights(model, lambda weight: stand_in(weight, weight.dtype)), scorer)
    if model.device.type == "cpu":
        # Without room for the file it is what it would be elsewhere.
        with suppress(OSError):
            return FileReference(dict(model.named_parameters()), scorer, folder=cache_dir())
    return frozen(copy.deepcopy(model), scorer)


def frozen(model: Any, scorer: Scorer) -> Reference:
    """Return a model that is not the trained one as the reference; it is put into eval mode without gradients."""
    fixed = replace(scorer, model=model.eval().requires_grad_(False))  # noqa: FBT003 - torch's own
    return lambda: nullcontext(fixed)


def kept(head: Head, scorer: Scorer) -> Head:
    """Return the head of a scorer's model without gradient, with its current weights whatever becomes of them later."""
    # A reference that swaps weights in ends with its context, and its head is used after it: `detach` holds on to the
    # storage that is in place now, where the parameter itself would follow the swap back. Weights that were gathered
    # for the pass are gone after it.
    weight_VH, bias_V = head.weight_VH.detach(), None if head.bias_V is None else head.bias_V.detach()
    if is_sharded(scorer.model):
        weight_VH, bias_V = weight_VH.clone(), None if bias_V is None else bias_V.clone()
    return replace(head, weight_VH=weight_VH, bias_V=bias_V)


class FileReference:
    """
    A model's weights as they were, in a file without a name, and the model with them in place of the present ones.

    Called, it is a context in which the scorer is the reference. The file is mapped into memory only inside of it, and
    read from the system's cache without a copy; it is gone with this object, or with the process however that ends.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], scorer: Scorer, *, folder: Path) -> None:
        """
        Write the weights into the file: the reference is the model as it is now.

        Args:
            parameters: every weight that training may change, in host memory. A tied one appears once among them, and
                so it stays one.
            scorer: the scorer of their model.
            folder: where the file is; it is made if need be.

        Raises:
            OSError: the file cannot be written.
        """
        self._parameters, self._scorer = dict(parameters), scorer
        self._file = WeightsFile(self._parameters, folder)

    @contextmanager
    def __call__(self) -> Iterator[Scorer]:
        """Put the reference in place of the model inside the context."""
        present = {name: parameter.data for name, parameter in self._parameters.items()}
        self._put(self.weights())
        try:
            yield self._scorer
        finally:
            # Also after an error: the policy that is trained must come out as it went in.
            self._put(present)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the file by name, as a new mapping of it into memory."""
        return self._file.read()

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        """Point the model's parameters at these weights, without a copy."""
        # `data`, so that the parameters stay the objects that the optimizer and its gradients hang on.
        for name, parameter in self._parameters.items():
            parameter.data = weights[name]


class SyncedReference:
    """
    The trained weights of some step, and the model with them in place of the present ones.

    Called, it is a context in which the scorer is the reference. It costs one copy of the *trainable* weights.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], scorer: Scorer) -> None:
        """Start with the current policy as the reference."""
        self._parameters, self._scorer = dict(parameters), scorer
        self._weights: dict[str, Tensor] = {}
        self.sync()

    @contextmanager
    def __call__(self) -> Iterator[Scorer]:
        """Put the reference in place of the model inside the context."""
        self._swap()
        try:
            yield self._scorer
        finally:
            self._swap()

    def sync(self) -> None:
        """Make the current policy the reference."""
        self._weights = {name: _copied(parameter.detach()) for name, parameter in self._parameters.items()}

    def state(self) -> dict[str, Tensor]:
        """Return the reference's weights by name, to be saved."""
        return {name: weight.contiguous() for name, weight in self._weights.items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Put saved weights back."""
        for name, weight in self._weights.items():
            weight.copy_(weights[name])

    def _swap(self) -> None:
        """Exchange the storage of the present weights and the kept ones, without a copy."""
        for name, parameter in self._parameters.items():
            parameter.data, self._weights[name] = self._weights[name], parameter.data


def _copied(weight: Tensor) -> Tensor:
    # What stands for a weight that is in a file still takes no memory, and its copy is to take none either.
    return weight if is_stand_in(weight) else weight.clone()
