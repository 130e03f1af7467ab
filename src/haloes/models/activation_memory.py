"""Memory of the activations that a forward pass leaves for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from haloes.models.architecture import window_of
from haloes.models.layout import make_packed
from haloes.models.own_logits import text_ids
from haloes.models.policy import Policy

_TRIED = 128


@dataclass(slots=True)
class Counted:
    """Storages that wait for the backward pass, each once, without the model's own."""

    own: set[int]
    seen: dict[int, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Return the bytes of all of them."""
        return sum(self.seen.values())

    def note(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd keeps; return it as it is."""
        # By storage: views of one activation are kept several times and take its memory once.
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.own:
            self.seen[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def counting(model: torch.nn.Module) -> Iterator[Counted]:
    """Count what forward passes with gradients inside the block keep; checkpointing is off meanwhile."""
    counted = Counted({p.untyped_storage().data_ptr() for p in model.parameters()})
    layers: list[Any] = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    for layer in layers:
        layer.gradient_checkpointing = False
    try:
        with torch.autograd.graph.saved_tensors_hooks(counted.note, lambda tensor: tensor):
            yield counted
    finally:
        for layer in layers:
            layer.gradient_checkpointing = True


def activation_bytes(policy: Policy) -> float:
    """Return the bytes that a token leaves for the backward pass without checkpointing, by a short random sequence."""
    # A window may be shorter, and its table of positions then ends there.
    tried = min(_TRIED, window_of(policy.scorer.model) or _TRIED)
    ids = np.random.default_rng(0).choice(text_ids(policy.scorer.model).numpy(), tried)
    packed = make_packed([(ids[:1], ids[1:], ids[1:] >= 0)], policy.device)
    with counting(policy.model) as counted:
        kept = policy.token_logps(packed)
    del kept
    return counted.bytes / tried


def kept_activation_bytes(whole: float, *, layers: int, inputs: float, checkpointing: bool, offload: bool) -> float:
    """
    Return the bytes that a token leaves for the backward pass with a run's settings.

    Args:
        whole: without checkpointing, as `activation_bytes` finds it.
        layers: how many layers the model has.
        inputs: bytes that a token brings into one layer.
        checkpointing: only what enters each layer is kept, and all that one layer keeps while it is computed again.
        offload: what would be kept waits elsewhere, but for the layer at work.
    """
    if not (checkpointing or offload):
        return whole
    # One layer at a time is there as a whole: it is computed again, or copied back, just before its backward pass.
    return (0 if offload else layers * inputs) + whole / max(layers, 1)
