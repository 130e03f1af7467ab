"""Class weights: a number, or "auto" until the counts of the data are known."""

import dataclasses
from math import isfinite
from typing import Any, Literal, TypeAlias, TypeVar

from haloes.errors import ConfigError

Weight: TypeAlias = float | Literal["auto"]

LossT = TypeVar("LossT")


def check_weight(name: str, weight: Weight) -> None:
    """Raise ConfigError for a weight that is neither "auto" nor a finite number of at least zero."""
    if weight != "auto" and not (isinstance(weight, int | float) and isfinite(weight) and weight >= 0):
        raise ConfigError(f'{name} must be a number of at least 0, or "auto", got {weight}')


def number(weight: Weight) -> float:
    """Return the weight as a number; raise ConfigError while it is still "auto"."""
    if weight == "auto":
        raise ConfigError(
            'a class weight is still "auto": call with_weights(loss, desirable=..., undesirable=...), or give a number'
        )
    return weight


def with_weights(loss: LossT, *, desirable: float, undesirable: float) -> LossT:
    """Replace the weights of a loss that were left to the data ("auto") by these, in the losses inside it too."""
    proposed = {"desirable_weight": desirable, "undesirable_weight": undesirable}
    filled: LossT = _fill(loss, proposed)
    return filled


def _fill(value: Any, proposed: dict[str, float]) -> Any:
    if isinstance(value, tuple):
        return tuple(_fill(item, proposed) for item in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    old = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    new = {
        name: proposed[name] if name in proposed and item == "auto" else _fill(item, proposed)
        for name, item in old.items()
    }
    return value if new == old else dataclasses.replace(value, **new)
