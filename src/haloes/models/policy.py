"""The model that is trained, and the one that it was before: two ways to score the same completions."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from haloes.errors import MissingInputError
from haloes.models.adapters import LoRA, add_lora
from haloes.models.forward import Scorer, head_of, make_scorer
from haloes.models.head import token_kl
from haloes.models.layout import Packed

_NOT_COMPUTED_WITH = frozenset({"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"})
"""Fields of a config that say where a model came from and how it is run."""

Reference: TypeAlias = Callable[[], AbstractContextManager[Scorer]]
"""Inside the context the scorer is the reference: the same weights before training."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A causal language model that is trained."""

    model: Any
    """The transformers model; with LoRA, the peft model around it."""
    scorer: Scorer
    reference: Reference | None
    """None where the loss needs no reference."""
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

    def reference_logps(self, packed: Packed) -> Tensor:
        """log p_reference of each trained token, (N,) in float32. Raises MissingInputError without a reference."""
        if self.reference is None:
            raise MissingInputError("this policy was made without a reference")
        with self.scoring(), self.reference() as scorer:
            return scorer.token_logps(packed)

    def token_kl(self, packed: Packed) -> Tensor:
        """KL(policy || reference) of the next-token distribution at each trained token, (N,), in nats."""
        if self.reference is None:
            raise MissingInputError("this policy was made without a reference")
        with self.scoring():
            policy = self.scorer.hidden(packed), head_of(self.scorer.model)
            with self.reference() as scorer:
                return token_kl(*policy, scorer.hidden(packed), head_of(scorer.model))

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
        return Policy(peft_model, scorer, _adapter_off(peft_model, scorer), fingerprint, unpacked_because)
    frozen = _frozen_copy(model, scorer) if reference else None
    for module in model.modules():
        # Where the end-of-turn token doubles as padding, its embedding would get no gradient. Nothing is padded here.
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    model.requires_grad_(True)  # noqa: FBT003 - torch's own signature
    return Policy(model, scorer, frozen, fingerprint, unpacked_because)


def weights_fingerprint(model: Any) -> str:
    """A hash of a model's architecture, config, weights and dtype: of what it computes, whatever it is called."""
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NOT_COMPUTED_WITH}
    known = json.dumps(config, sort_keys=True, default=str)
    digest = hashlib.sha256(f"{type(model).__name__} {model.dtype} {known}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _adapter_off(peft_model: Any, scorer: Scorer) -> Reference:
    @contextmanager
    def reference() -> Iterator[Scorer]:
        with peft_model.disable_adapter():
            yield scorer

    return reference


def _frozen_copy(model: Any, scorer: Scorer) -> Reference:
    frozen = Scorer(copy.deepcopy(model).eval().requires_grad_(False), scorer.packs)  # noqa: FBT003 - torch's own
    return lambda: nullcontext(frozen)
