"""Device and dtype of the computation, and the way of numbers from the processor to the device."""

import os
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.errors import ConfigError

_BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""What `torch.cpu.get_capabilities` calls products in bfloat16: of x86's AVX-512 and AMX, and of ARM."""
_ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Where a user lowers the instructions that oneDNN takes, in the order in which it looks."""
_ISA_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
"""Limits with no products in bfloat16; oneDNN does not heed a name that it does not know."""


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
    """Return the dtype by name, "auto" being bfloat16 where the GPU takes it or the CPU is fast in it, else float32."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cpu" and has_fast_bfloat16() else torch.float32


def has_fast_bfloat16() -> bool:
    """Return whether products in bfloat16 are fast on this processor, by its instructions; where unknown, False."""
    # Not by timing products: on a busy machine that gives another answer, and so another model, from call to call.
    capabilities = torch.cpu.get_capabilities()
    if not any(capabilities.get(name) for name in _BFLOAT16_INSTRUCTIONS):
        return False
    # torch leaves these products to oneDNN. Under a limit without the instructions oneDNN emulates them, slower than
    # float32, and torch tells what the processor has whatever the limit.
    limit = next((os.environ[name] for name in _ISA_LIMITS if os.environ.get(name)), "")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and limit.upper() not in _ISA_WITHOUT_BFLOAT16


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
