"""Numbers from the processor to the device that computes, without either waiting for the other."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """An array as a tensor on this device; on the CPU it is the array itself."""
    return moved(torch.from_numpy(values), device)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """
    A tensor of the CPU on this device.

    On a GPU it goes through page-locked memory: a copy from ordinary memory makes the processor wait until all work
    that was handed to the GPU before is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
