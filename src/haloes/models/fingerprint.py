"""
A model's fingerprint: one hash of the hashes of its tensors, so that nobody has to hold all of them at once.

    hash of a tensor     sha256 of dtype, shape and bytes
    fingerprint          sha256 of what the model is and of a line "NAME HASH" for each tensor, in the order of names,
                         and " by tensor", which tells it from the older kind: one hash of all bytes in that order

Whoever reads weights in slices hashes one tensor after the other, and processes may take some of them each
(`tensor_hash`, then `combined`).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from haloes.models.unread_weights import files_of

_BY_TENSOR = " by tensor"
_NOT_COMPUTED_WITH = frozenset({"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"})
"""Fields of a config that say where a model came from and how it is run."""


def weights_fingerprint(model: Any, *, like: str | None = None) -> str:
    """
    Hash a model's architecture, config, weights and dtype: what it computes, whatever it is called.

    Args:
        model: a transformers model with whole weights, or with weights in files still, which are read one by one.
        like: a recorded fingerprint that this one is compared with; where an older haloes made it, so is this one.
    """
    return _fingerprint(what_it_is(model), files_of(model) or model.state_dict(), like)


def adapter_fingerprint(base: str, weights: Mapping[str, Tensor]) -> str:
    """Hash the weights of an adapter beside the model that has this fingerprint, in the kind of that one."""
    return _fingerprint(base, weights, base)


def what_it_is(model: Any) -> str:
    """Return a model's architecture, dtype and config as a text, without its name; its weights may be empty."""
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NOT_COMPUTED_WITH}
    return f"{type(model).__name__} {model.dtype} {json.dumps(config, sort_keys=True, default=str)}"


def tensor_hash(tensor: Tensor) -> str:
    """Hash a whole tensor: its dtype, its shape and its bytes."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(_bytes(tensor))
    return digest.hexdigest()


def combined(what: str, hashes: Mapping[str, str]) -> str:
    """Return the fingerprint of a model from what it is and the hash of each of its tensors by name."""
    lines = "\n".join([what, *(f"{name} {value}" for name, value in sorted(hashes.items()))])
    return hashlib.sha256(lines.encode()).hexdigest() + _BY_TENSOR


def is_by_tensor(fingerprint: str | None) -> bool:
    """Return whether a recorded fingerprint is made of hashes of tensors, as a new one (None) is."""
    return fingerprint is None or fingerprint.endswith(_BY_TENSOR)


def _fingerprint(what: str, weights: Mapping[str, Tensor], like: str | None) -> str:
    if is_by_tensor(like):
        return combined(what, {name: tensor_hash(tensor) for name, tensor in weights.items()})
    digest = hashlib.sha256(what.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    # As they are, whatever the dtype: numpy knows no bfloat16.
    found: memoryview = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return found
