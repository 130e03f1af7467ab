"""The losses that haloes knows by name; a loss from elsewhere is passed as an object or as `path/to/file.py:Class`."""

import dataclasses
import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from haloes.errors import ConfigError
from haloes.losses._contract import Loss
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.sft import SFT

LOSSES: Mapping[str, type[Any]] = MappingProxyType({"kto": KTO, "dpo": DPO, "sft": SFT})


def loss_class(name: str) -> type[Any]:
    """The class of a loss by its name in the table, or by `path/to/file.py:Class`; ConfigError if there is none."""
    if name in LOSSES:
        return LOSSES[name]
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _from_file(Path(path), attribute)
    close = difflib.get_close_matches(name.lower(), LOSSES, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else ""
    known = ", ".join(LOSSES)
    raise ConfigError(f'loss: there is no loss "{name}".{hint} There are: {known}; or path/to/file.py:Class')


def make_loss(name: str, settings: Mapping[str, Any]) -> Loss[Any]:
    """A loss by name with hyperparameters set; unknown ones are refused with a suggestion (ConfigError)."""
    cls = loss_class(name)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            has = ", ".join(known) or "none"
            raise ConfigError(f'loss.{key}: {name} has no hyperparameter "{key}".{hint} It has: {has}')
    try:
        loss: Loss[Any] = cls(**settings)
    except TypeError as error:
        raise ConfigError(f"loss: {name} cannot be made from {dict(settings)}: {error}") from error
    return loss


def _from_file(path: Path, attribute: str) -> type[Any]:
    if not path.is_file():
        raise ConfigError(f"loss: there is no file {path}; a loss from a file is written path/to/file.py:Class")
    spec = importlib.util.spec_from_file_location(f"haloes_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"loss: {path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f'loss: {path} has no dataclass "{attribute}"')
    return cls
