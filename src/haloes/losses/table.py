"""The losses that haloes knows by name; a loss from elsewhere is passed as an object or as `path/to/file.py:Class`."""

import dataclasses
import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from haloes.errors import ConfigError
from haloes.losses._contract import Loss, Needs
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


def loss_settings(loss: Loss[Any]) -> dict[str, Any]:
    """A loss as its section of the configuration: the name that leads to it, and its hyperparameters."""
    cls = type(loss)
    named = {known: name for name, known in LOSSES.items()}
    name = named.get(cls) or f"{_file_of(cls)}:{cls.__name__}"
    return {"name": name, **{f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}}  # type: ignore[arg-type]


def _file_of(cls: type[Any]) -> str:
    try:
        return str(inspect.getfile(cls))
    except (OSError, TypeError):
        return cls.__module__


def _from_file(path: Path, attribute: str) -> type[Any]:
    if not path.is_file():
        raise ConfigError(f"loss: there is no file {path}; a loss from a file is written path/to/file.py:Class")
    module = _module_of(path)
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f'loss: {path} has no dataclass "{attribute}"')
    if not isinstance(getattr(cls, "needs", None), Needs):
        raise ConfigError(f"loss: {attribute} in {path} does not say what it needs; add needs: ClassVar[Needs] to it")
    return cls


def _module_of(path: Path) -> ModuleType:
    """The file as a module: the same one as long as the file stays as it is, so that its losses stay comparable."""
    name = f"haloes_user_{hashlib.sha256(bytes(path.resolve()) + path.read_bytes()).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"loss: {path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"loss: {path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
