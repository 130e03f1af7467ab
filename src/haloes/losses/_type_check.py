"""Checks that values from a configuration are of the types that hyperparameters declare."""

import dataclasses
import typing
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from haloes.losses.components import COMPONENTS, PARTS

_PLAIN: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def declared(maker: Any) -> dict[str, Any]:
    """Return the types of a maker's hyperparameters by name, as far as they can be found out."""
    try:
        return typing.get_type_hints(maker)
    except (NameError, TypeError, AttributeError):  # somebody's own class, with annotations that are no types
        return {}


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of a declared type; it is where the type is neither plain, nor a choice, nor a part."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return any(fits(value, option) for option in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, inner[0]) for item in value)
    return _fits_a_part(value, kind) if _is_part(kind) else _fits_plainly(value, kind)


def _fits_plainly(value: Any, kind: Any) -> bool:
    if kind is float:
        return type(value) in {int, float}
    return type(value) is kind if kind in _PLAIN or kind is NoneType else True


def _fits_a_part(value: Any, kind: Any) -> bool:
    """Return whether a value may be this loss or dial: a dial of haloes is of one kind, a user's own may be of any."""
    # A field of the type `Loss` has no entry among the components: any dataclass but a dial may stand there.
    right = type(value) in COMPONENTS[kind].values() if kind in COMPONENTS else False
    return dataclasses.is_dataclass(value) and (right or type(value) not in PARTS.values())


def in_words(kind: Any) -> str:
    """Describe the values of a type, for a message."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return " or ".join(in_words(option) for option in inner if option is not NoneType)
    if origin is Literal:
        return " or ".join(f'"{choice}"' for choice in inner)
    if origin is tuple:
        return f"a list, each item {in_words(inner[0])}"
    if _is_part(kind):
        return f"written with its name, such as {{name: {next(iter(COMPONENTS.get(kind, {'dpo': None})))}}}"
    return _PLAIN.get(kind, "something else")


def _is_part(kind: Any) -> bool:
    return bool(getattr(get_origin(kind) or kind, "_is_protocol", False))
