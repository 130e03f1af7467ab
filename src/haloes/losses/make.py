"""Losses from their names and hyperparameters, and back; a loss from elsewhere is named `path/to/file.py:Class`."""

import dataclasses
import difflib
import hashlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from haloes.errors import ConfigError, UserError
from haloes.losses._contract import Loss, Needs, metrics_line
from haloes.losses._type_check import declared, fits, in_words
from haloes.losses.components import PARTS
from haloes.losses.humanline import Humanline
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.mixture import Mixture
from haloes.losses.presets import Maker, Preset
from haloes.losses.table import LOSSES, check_loss_name
from haloes.python_files import import_file

_WRAPPERS = {"humanline": Humanline, "length-normalised": LengthNormalised, "mixture": Mixture}


def loss_maker(name: str) -> Maker:
    """Find what makes a loss: by its name in the table or by `path/to/file.py:Class`; raise ConfigError without any."""
    check_loss_name(name)
    if name in LOSSES:
        return LOSSES[name]
    path, _, attribute = name.rpartition(":")
    return _class_in_file(Path(path), attribute)


def hyperparameters(maker: Maker) -> dict[str, Any]:
    """Return the names of a loss's hyperparameters, with their defaults."""
    function = _callable_of(maker)
    if isinstance(function, type) and dataclasses.is_dataclass(function):
        return {field.name: _default(field) for field in dataclasses.fields(function)}
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def make_loss(name: str, settings: Mapping[str, Any], *, section: str = "loss") -> Loss[Any]:
    """
    Make a loss by its name, with hyperparameters set.

    A hyperparameter that is a loss or a dial itself is written as a mapping with its own `name`. Unknown names are
    refused with a suggestion, and so are values of the wrong kind (ConfigError, which says where under `section`).
    """
    maker = loss_maker(name)
    loss: Loss[Any] = _construct(maker, name, settings, list(hyperparameters(maker)), section)
    if name not in LOSSES:
        _check_declared(loss, name)
    return loss


def loss_settings(loss: Loss[Any]) -> dict[str, Any]:
    """Write a loss as its section of the configuration: the name that leads to it, and its hyperparameters."""
    written: dict[str, Any] = _to_settings(loss)
    return written


def _callable_of(maker: Maker) -> Any:
    """Return what declares the hyperparameters: a class, or the function of a preset."""
    return maker.make if isinstance(maker, Preset) else maker


def _construct(maker: Any, name: str, settings: Mapping[str, Any], names: list[str], section: str) -> Any:
    """Call a maker with settings, checked and with their parts made. Raise ConfigError, which names the setting."""
    kinds = declared(_callable_of(maker))
    parts: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            has = ", ".join(names) or "none"
            raise ConfigError(f'{section}.{key}: {name} has no hyperparameter "{key}".{hint} It has: {has}')
        parts[key] = _part(f"{section}.{key}", value)
        if not fits(parts[key], kinds.get(key, Any)):
            raise ConfigError(f"{section}.{key}: {name} wants it to be {in_words(kinds[key])}, got {value!r}")
    for key in names:
        if key not in parts and _has_no_default(_callable_of(maker), key):
            raise ConfigError(
                f"{section}.{key}: {name} has no default for it; set it, such as --set {section}.{key}=..."
            )
    try:
        return maker(**parts)
    except UserError:
        raise
    # A loss of the user's own may raise anything.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{section}: {name} cannot be made from {dict(settings)} ({type(error).__name__}: {error})"
        ) from error


def _part(section: str, value: Any) -> Any:
    """Return a plain value as it is, and make the loss or dial that a mapping with a name stands for."""
    if isinstance(value, list | tuple):
        return tuple(_part(f"{section}.{i}", item) for i, item in enumerate(value))
    if not isinstance(value, Mapping):
        return value
    if "name" not in value:
        raise ConfigError(f"{section}: a part is written with its name, such as {{name: logistic}}; got {dict(value)}")
    settings = {inner: item for inner, item in value.items() if inner != "name"}
    cls = PARTS.get(str(value["name"]))
    if cls is None:
        return make_loss(str(value["name"]), settings, section=section)
    return _construct(cls, str(value["name"]), settings, [field.name for field in dataclasses.fields(cls)], section)


def _to_settings(value: Any) -> Any:
    """Write a value as a configuration has it: losses and dials as mappings with a name."""
    if isinstance(value, tuple):
        return [_to_settings(item) for item in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    cls = type(value)
    named = {part: name for name, part in {**LOSSES, **PARTS, **_WRAPPERS}.items() if isinstance(part, type)}
    name = named.get(cls) or f"{_file_of(cls)}:{cls.__name__}"
    return {"name": name, **{f.name: _to_settings(getattr(value, f.name)) for f in dataclasses.fields(value)}}


def _has_no_default(maker: Any, key: str) -> bool:
    """Return whether a hyperparameter has to be given."""
    parameter = inspect.signature(maker).parameters.get(key)
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _default(field: "dataclasses.Field[Any]") -> Any:
    """Return the default of a field; `Parameter.empty` where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _file_of(cls: type[Any]) -> str:
    """Return the file of a class, or its module where it is of no file."""
    try:
        return str(inspect.getfile(cls))
    except (OSError, TypeError):
        return cls.__module__


def _class_in_file(path: Path, attribute: str) -> type[Any]:
    """Load a loss from a user's file; raise ConfigError where it is none, or declares needs or metrics wrongly."""
    if not path.is_file():
        raise ConfigError(f"loss: there is no file {path}; a loss from a file is written path/to/file.py:Class")
    module = _import_file(path)
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f'loss: {path} has no dataclass "{attribute}"')
    if fields := {"needs", "metrics"} & {field.name for field in dataclasses.fields(cls)}:
        raise ConfigError(
            f"loss: {min(fields)} of {attribute} in {path} is a hyperparameter as it is written; make it a "
            "ClassVar, or a property where it depends on the fields"
        )
    if not hasattr(cls, "needs"):
        raise ConfigError(f"loss: {attribute} in {path} does not say what it needs; add needs: ClassVar[Needs] to it")
    return cls


def _check_declared(loss: Any, name: str) -> None:
    """Raise ConfigError where a loss from elsewhere, whose properties may depend on its fields, declares wrongly."""
    try:
        needs, metrics = loss.needs, getattr(loss, "metrics", ())
    except UserError:
        raise
    except Exception as error:
        raise ConfigError(
            f"loss: {name} cannot say what it needs and measures ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(needs, Needs):
        raise ConfigError(
            f"loss: needs of {name} is {_in_short(needs)}; write needs: ClassVar[Needs] = Needs(...) in its class, or "
            "a property that returns one"
        )
    if not _are_names(metrics):
        line = metrics_line(["name", "another"])
        raise ConfigError(f"loss: {name} must declare its metrics like {line}, got {_in_short(metrics)}")


def _in_short(value: object) -> str:
    return "a method: put @property above it" if callable(value) else repr(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


def _import_file(path: Path) -> ModuleType:
    """Import a file; the module stays the same as long as the file does, so that its losses stay comparable."""
    # The content is part of the name: an edited file is another module, and path and class stay what they were.
    name = f"haloes_user_{hashlib.sha256(bytes(path.resolve()) + path.read_bytes()).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    try:
        return import_file(path, name, keep=True)  # dataclasses look their module up
    except (Exception, SystemExit) as error:
        raise ConfigError(f"loss: {path} cannot be imported: {type(error).__name__}: {error}") from error
