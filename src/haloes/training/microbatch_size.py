"""The size of a micro-batch in tokens: as many as make it faster, where there is memory for them."""

from pathlib import Path

import psutil
import torch

from haloes.models.activation_memory import activation_bytes, kept_activation_bytes
from haloes.models.architecture import compute_dtype_of, layers_of
from haloes.models.forward import head_of
from haloes.models.lm_head import CHUNK_BYTES
from haloes.models.policy import Policy
from haloes.training.settings import TrainSettings

MAX_TOKENS = {"cuda": 16_384, "cpu": 1024}
"""Tokens beyond which a device's matrix products are no faster, by its type."""
MIN_TOKENS = 128
MOMENTS = {"adamw": 8, "adamw8bit": 2, "rmsprop": 4}
"""Bytes that the optimizer keeps for each trained number."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_FLOAT32 = 4
_GAPS = 2.0
"""Resident memory grows by about twice of what a pass keeps: allocators leave gaps (LOG.md)."""
_SAFE = 0.9


def choose_budget(
    policy: Policy, settings: TrainSettings, *, free: int, device: torch.device | None = None, processes: int = 1
) -> int:
    """
    Return the tokens of a micro-batch: what the settings say, else as many as make it faster and fit.

    Args:
        policy: as it is before training: its gradients and its optimizer are still to come.
        settings: settings of the training.
        free: bytes that the process can come to hold on the device beside what it holds now.
        device: where it will compute; where it is now if left out.
        processes: among how many the weights will be shared.
    """
    if settings.microbatch_tokens is not None:
        return settings.microbatch_tokens
    fastest = MAX_TOKENS.get((device or policy.device).type, MAX_TOKENS["cpu"])
    token = _token_bytes(policy, settings)
    fitting = int((_SAFE * free - _later_bytes(policy, settings, processes)) / (_GAPS * token))
    return max(MIN_TOKENS, min(fastest, fitting // MIN_TOKENS * MIN_TOKENS))


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can come to hold on the device, with what it holds already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device))
    free = int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)
    # In a container the kernel ends what passes the container's limit, whatever the machine has.
    try:
        return min(free, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no such limit
        return free


def bytes_in_use(device: torch.device) -> int:
    """Return the bytes that the process (on a GPU: its tensors) holds now."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    rss: int = psutil.Process().memory_info().rss
    return rss


def _token_bytes(policy: Policy, settings: TrainSettings) -> float:
    """Return the bytes that a token leaves for the backward pass with these settings."""
    return kept_activation_bytes(
        activation_bytes(policy),
        layers=layers_of(policy.scorer.model),
        inputs=head_of(policy.scorer.model).weight_VH.shape[1] * compute_dtype_of(policy.scorer.model).itemsize,
        checkpointing=settings.gradient_checkpointing,
        offload=settings.activation_offload,
    )


def _later_bytes(policy: Policy, settings: TrainSettings, processes: int) -> int:
    """Return the bytes that training adds whatever the micro-batch: gradients, moments, float32 weights, logits."""
    later = 0
    for weight in policy.trainable().values():
        copy = 0 if weight.dtype == torch.float32 else _FLOAT32
        later += weight.numel() * (copy + _FLOAT32 + MOMENTS[settings.optimizer])
    # A chunk of logits, and as much again for what is computed from it.
    return 2 * CHUNK_BYTES + later // processes
