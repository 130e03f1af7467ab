"""Class weights that may be left to the data: "auto" until the counts are known, a number from then on."""

import dataclasses
from math import isfinite
from typing import Any, Literal, TypeAlias, TypeVar

from haloes.errors import ConfigError

Weight: TypeAlias = float | Literal["auto"]

LossT = TypeVar("LossT")


def check_weight(name: str, weight: Weight) -> None:
    """Refuse a weight that is neither "auto" nor a finite number of at least zero."""
    if weight != "auto" and not (isinstance(weight, int | float) and isfinite(weight) and weight >= 0):
        raise ConfigError(f'{name} must be a number of at least 0, or "auto", got {weight}')


def number(weight: Weight) -> float:
    """The weight as a number; raises ConfigError while it is still "auto"."""
    if weight == "auto":
        raise ConfigError(
            'a class weight is still "auto": call with_weights(loss, desirable=..., undesirable=...), or give a number'
        )
    return weight


def with_weights(loss: LossT, *, desirable: float, undesirable: float) -> LossT:
    """The same loss with the weights that were left to the data ("auto") replaced by these numbers."""
    proposed: dict[str, Any] = {"desirable_weight": desirable, "undesirable_weight": undesirable}
    open_fields = {
        f.name: proposed[f.name]
        for f in dataclasses.fields(loss)  # type: ignore[arg-type]
        if f.name in proposed and getattr(loss, f.name) == "auto"
    }
    return dataclasses.replace(loss, **open_fields) if open_fields else loss  # type: ignore[type-var]
