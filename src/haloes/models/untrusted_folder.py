"""What is looked at in a model's folder before a library reads it: it may come from anybody."""

import json
from pathlib import Path
from typing import Any

from haloes.errors import ModelError

MOST_LAYERS = 1_000
"""Ten times what the deepest models have; so many are made in seconds."""
_MOST = {
    "num_hidden_layers": MOST_LAYERS,
    "n_layer": MOST_LAYERS,
    "n_layers": MOST_LAYERS,
    "num_layers": MOST_LAYERS,
    "decoder_layers": MOST_LAYERS,
    "encoder_layers": MOST_LAYERS,
    "num_experts": 10_000,
    "num_local_experts": 10_000,
    "n_routed_experts": 10_000,
}
"""The most that a model has of what libraries make a list of, or room for, before they look at the weights."""
_LARGEST = 1 << 24
"""Bytes of a configuration; most have some thousand."""
_SHOWN = 40


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of named values. Raises ModelError, which names the file, where it is none."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path}: it has more than {_LARGEST >> 20} MiB, which no configuration has")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise ModelError(f"{path}: nested too deeply") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: expected named values, found {type(value).__name__}")
    return value


def check_config(folder: Path) -> None:
    """
    Raise ModelError where `config.json` is none, or names a number of layers or experts that no model has.

    Libraries make a list of all layers, or the layers themselves, before they compare anything with the weights.
    """
    path = folder / "config.json"
    if not path.is_file():
        return
    parts: list[Any] = [read_object(path)]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        if not isinstance(part, dict):
            continue
        parts += part.values()
        for name in _MOST.keys() & part.keys():
            number = part[name]
            is_number = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _MOST[name]
            if number is not None and not is_number:
                shown = repr(number) if isinstance(number, int | float | str) else type(number).__name__
                what = name.rpartition("_")[2].removesuffix("s")
                raise ModelError(f"{path}: {name} is {shown[:_SHOWN]}, which is no number of {what}s")
