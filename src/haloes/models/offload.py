"""
Activations in host memory between the forward and the backward pass, for steps that do not fit a GPU otherwise.

What autograd saves is copied out on a stream of its own while the forward pass goes on, and copied back when the
backward pass asks for it: the same bits. With checkpointing that is one tensor a layer, so that the length of a
sequence is limited by host memory; without it, all activations travel, which is slow.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from haloes.errors import ConfigError

WORTH_BYTES = 2**20
"""Smaller tensors stay where they are: a copy costs more than they take."""


@dataclass(frozen=True, slots=True)
class OffloadedTensor:
    """A tensor's copy in host memory."""

    host: Tensor
    device: torch.device
    copied: Any
    """The event after which `host` is complete; None where the copy was made at once."""


def check_offload(device: torch.device) -> None:
    """Raise ConfigError where there is no host memory beside the device's own."""
    if device.type != "cuda":
        raise ConfigError(
            f"train.activation_offload moves activations from a GPU to host memory, and this run computes on {device}; "
            "leave it out"
        )


def offloaded(parameters: list[Tensor], *, worth: int = WORTH_BYTES) -> saved_tensors_hooks:
    """
    Return a context in which what autograd saves of a forward pass waits in host memory for the backward pass.

    Args:
        parameters: weights, which autograd saves too and which have their place already.
        worth: bytes from which a tensor is moved.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    streams: dict[torch.device, Any] = {}

    def pack(tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()
        if tensor.numel() * tensor.element_size() < worth or storage.data_ptr() in weights:
            return tensor
        if tensor.device.type != "cuda":
            return OffloadedTensor(tensor.clone(), tensor.device, None)
        stream = streams.setdefault(tensor.device, torch.cuda.Stream(tensor.device))  # type: ignore[no-untyped-call]
        return _copied_out(tensor, stream)

    return saved_tensors_hooks(pack, _brought_back)


def _copied_out(tensor: Tensor, stream: Any) -> OffloadedTensor:
    """Begin to copy a tensor to host memory on this stream, while the forward pass goes on."""
    # Page-locked, or the copy would make the processor wait.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    # The tensor may still be being computed.
    stream.wait_stream(torch.cuda.current_stream(tensor.device))
    with torch.cuda.stream(stream):
        host.copy_(tensor, non_blocking=True)
    # Its memory may be given to another tensor only after the copy.
    tensor.record_stream(stream)
    return OffloadedTensor(host, tensor.device, stream.record_event())


def _brought_back(kept: Any) -> Any:
    """Return a saved tensor on its device, copied back if it was moved."""
    if not isinstance(kept, OffloadedTensor):
        return kept
    if kept.copied is not None:
        torch.cuda.current_stream(kept.device).wait_event(kept.copied)
    return kept.host.to(kept.device, non_blocking=True)
