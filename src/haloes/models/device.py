"""Device and dtype of the computation, and the way of numbers from the processor to the device."""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.errors import ConfigError

_CLEARLY = 1.3


def choose_device(name: str) -> torch.device:
    """Return the device by name, "auto" being a GPU or else the CPU. Raises ConfigError if it is not there."""
    if name != "auto":
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise ConfigError(
                f'model.device: there is no device "{name}"; "auto", "cpu" and "cuda" are known'
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f'model.device is "{name}", and torch sees no GPU here; leave it at "auto"')
        return device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype by name; for "auto" a CPU is timed on one matrix product, which takes some milliseconds."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if bfloat16_is_faster(device) else torch.float32


def bfloat16_is_faster(device: torch.device) -> bool:
    """Return whether a matrix product in bfloat16 is clearly faster than in float32, by timing one of each."""
    return product_rate(torch.bfloat16, device) > _CLEARLY * product_rate(torch.float32, device)


def product_rate(
    dtype: torch.dtype,
    device: torch.device,
    *,
    rows: int = 256,
    inner: int = 512,
    columns: int = 1024,
    times: int = 5,
) -> float:
    """Return the floating-point operations a second of a matrix product in this dtype, the best of several `times`."""
    left = torch.ones(rows, inner, dtype=dtype, device=device)
    right = torch.ones(inner, columns, dtype=dtype, device=device)
    found = []
    # The best of several: other work on the machine only ever makes one slower, and the first pays for warming up.
    for _ in range(times):
        began = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - began)
    return 2.0 * rows * inner * columns / min(found)


def to_device(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array as a tensor on this device; on the CPU the tensor shares the array's memory."""
    return moved(torch.from_numpy(values), device)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """
    Return a tensor of the CPU on this device.

    On a GPU it goes through page-locked memory: a copy from ordinary memory makes the processor wait until all work
    that was handed to the GPU before is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
