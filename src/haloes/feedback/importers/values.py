"""Values of an export, read without trust: what is not of the kind that was asked for is nothing."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from haloes.feedback.refusals import RefusalError, short_repr

MAPPING = (dict, Mapping)
"""What is a mapping: asked for `dict` first, which nearly all are, `isinstance` takes a tenth of the time."""
_AT_LIMIT = {"length", "max_tokens", "max_output_tokens", "model_length"}
"""Finish reasons, in small letters, of answers that were cut off at a token limit."""


def at(row: object, *keys: str) -> Any:
    """
    Return the value under nested keys; None where one of them is missing, or what it is in is no mapping.

    A mapping on the way may be spelled as JSON, as in a cell of a CSV; the value itself is returned as it stands.
    """
    for key in keys:
        if row is None:
            return None
        row = row.get(key) if isinstance(row, dict) else as_map(row).get(key)
    return row


def first_of(row: object, *names: str) -> Any:
    """Return the first value that is not null under one of several names of the same thing."""
    if isinstance(row, MAPPING):
        for name in names:
            if (value := row.get(name)) is not None:
                return value
    return None


def as_map(value: object) -> Mapping[str, Any]:
    """Return a mapping, or the one that a text spells as JSON; an empty one for anything else."""
    value = parsed(value)
    return value if isinstance(value, MAPPING) else {}


def as_list(value: object) -> list[Any]:
    """Return a list, or the one that a text spells as JSON; an empty one for anything else."""
    value = parsed(value)
    return list(value) if isinstance(value, list | tuple) else []


def as_text(value: object) -> str | None:
    """Return a text that is not blank; None for anything else."""
    return value if isinstance(value, str) and value.strip() else None


def as_id(value: object) -> str | None:
    """Return an id as text: a text that is not blank, a whole number, or MongoDB's {"$oid": ...}; else None."""
    if value is None or isinstance(value, str):
        return as_text(value)
    if isinstance(value, Mapping):
        value = value.get("$oid")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return as_text(value)


def as_number(value: object) -> float | None:
    """Return a finite number, or the one that a text spells; None for anything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def has_ended(reason: object) -> bool | None:
    """Return whether an answer ended by itself and not at the token limit, by its finish reason; None without one."""
    return None if not isinstance(reason, str) or not reason.strip() else reason.strip().casefold() not in _AT_LIMIT


def is_true(value: object) -> bool:
    """Return whether a value is true, or spells it, as a cell of a CSV does."""
    return _key(value) == 1.0


def parsed(value: object) -> object:
    """Return what a text spells as a JSON object or array; any other value unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def parsed_twice(text: str) -> object:
    """Return what a text spells as JSON, also where that is a text which spells JSON itself; any other unchanged."""
    value: object = text
    for _ in range(2):
        try:
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            break
    return value


def thumb(value: object, *, up: Iterable[object], down: Iterable[object], none: Iterable[object] = ()) -> bool | None:
    """
    Return True for one of the values of a thumb up, False for a thumb down, None for one that is no verdict.

    1, 1.0, True, "1" and "true" are the same value, and words are the same in any case. An export's 0 is what the
    importer says that it is, and never "missing"; null and a blank text are no verdict.

    Args:
        value: The value in the export.
        up: Values of a thumb up, such as (1,) or ("like",).
        down: Values of a thumb down, such as (0,) or (-1,).
        none: Values that are no verdict, such as a draw.

    Raises:
        RefusalError: The value is none of these.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    key = _key(value)
    for label, values in ((True, up), (False, down), (None, none)):
        if any(key == _key(each) for each in values):
            return label
    known = ", ".join(short_repr(each) for values in (up, down, none) for each in values)
    raise RefusalError("label", f"the verdict {short_repr(value)} is none of {known}", column="label")


def _key(value: object) -> object:
    """Return a number for what is or spells one, and a word in lower case; anything else is equal to nothing."""
    if isinstance(value, bool):
        return float(value)
    number = as_number(value)
    if number is not None:
        return number
    if isinstance(value, str):
        word = value.strip().casefold()
        return {"true": 1.0, "false": 0.0, "t": 1.0, "f": 0.0}.get(word, word)  # Postgres writes t and f
    return object()
