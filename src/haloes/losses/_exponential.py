"""An exponential that stays finite."""

from math import exp
from typing import Final

from torch import Tensor
from torch.nn.functional import relu

CEILING: Final = 30.0


def expm1_then_tangent(x: Tensor) -> Tensor:
    """
    exp(x) - 1 up to x = 30, and from there the tangent at that point.

    e^30 is 1e13: no training step survives what lies beyond, but float32 and the norm of its gradient do, and what is
    far off still weighs more than what is near.
    """
    return x.clamp(max=CEILING).expm1() + exp(CEILING) * relu(x - CEILING)
