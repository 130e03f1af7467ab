"""What to compute in: bfloat16 where the processor is clearly faster in it, else float32."""

import time

import torch

from haloes.errors import ConfigError

_CLEARLY = 1.3


def choose_device(name: str) -> torch.device:
    """The device by name; "auto" is a GPU if there is one, else the CPU. Raises ConfigError if it is not there."""
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
    """The dtype by name; "auto" is found out: a CPU is timed on one matrix product, which takes some milliseconds."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    faster = _seconds(torch.float32) > _CLEARLY * _seconds(torch.bfloat16)
    return torch.bfloat16 if faster else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(256, 512, dtype=dtype), torch.ones(512, 1024, dtype=dtype)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - began)
    return min(times)
