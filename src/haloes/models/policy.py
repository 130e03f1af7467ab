"""The model that is trained, and the one that it was before: two ways to score the same completions."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from haloes.models.adapters import LoRA, add_lora, adapter_off
from haloes.models.forward import Scorer, make_scorer
from haloes.models.layout import Packed

ReferenceLogps: TypeAlias = Callable[[Packed], Tensor]
"""Packed sequences to the reference's log-probability of each trained token, (N,), without gradient."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A causal language model that is trained."""

    model: Any
    """The transformers model; with LoRA, the peft model around it."""
    scorer: Scorer
    reference: ReferenceLogps | None
    """The same weights before training; None where the loss needs no reference."""
    reference_fingerprint: str
    """Hash of the weights before training and of the dtype they compute in."""
    unpacked_because: str | None
    """Why sequences are padded and not packed; None when they are packed."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = self.model.device
        return device

    def token_logps(self, packed: Packed) -> Tensor:
        """log p_policy of each trained token, (N,) in float32."""
        return self.scorer.token_logps(packed)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name, in a fixed order."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """No dropout and no gradients inside the block."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)


def make_policy(model: Any, *, lora: LoRA | None, reference: bool, seed: int) -> Policy:
    """
    Make a loaded model trainable, and keep what it is now as the reference.

    The reference is never loaded again by name (TRAPS 18): with LoRA it is the model with the adapter off, which costs
    no memory; with full tuning it is a frozen copy.

    Args:
        model: a transformers causal language model; it is changed in place.
        lora: adapters, or None to train all weights.
        reference: whether the loss needs one.
        seed: of the adapter's start.
    """
    fingerprint = weights_fingerprint(model)
    scorer, unpacked_because = make_scorer(model)
    if lora is not None:
        peft_model = add_lora(model, lora, seed=seed)
        adapted = _adapter_off_reference(peft_model, scorer) if reference else None
        return Policy(peft_model, scorer, adapted, fingerprint, unpacked_because)
    copied = _frozen_reference(model, scorer) if reference else None
    model.requires_grad_(True)  # noqa: FBT003 - torch's own signature
    return Policy(model, scorer, copied, fingerprint, unpacked_because)


def weights_fingerprint(model: Any) -> str:
    """A hash of a model's architecture, weights and dtype: of what it computes, whatever it is called."""
    digest = hashlib.sha256(f"{type(model).__name__} {model.dtype}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _adapter_off_reference(peft_model: Any, scorer: Scorer) -> ReferenceLogps:
    def logps(packed: Packed) -> Tensor:
        with torch.no_grad(), adapter_off(peft_model):
            return scorer.token_logps(packed)

    return logps


def _frozen_reference(model: Any, scorer: Scorer) -> ReferenceLogps:
    import copy

    frozen = copy.deepcopy(model).eval().requires_grad_(False)  # noqa: FBT003 - torch's own signature
    frozen_scorer = Scorer(frozen, scorer.packs)

    def logps(packed: Packed) -> Tensor:
        with torch.no_grad():
            return frozen_scorer.token_logps(packed)

    return logps
