"""Where a model's name leads: a folder, the hub, a GGUF file or the embedded model; and what an adapter stands on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from haloes.errors import ModelError
from haloes.models import hub
from haloes.models.embedded import EMBEDDED_NAMES, embedded_path
from haloes.models.untrusted_folder import check_config, read_object
from haloes.run_files import MODEL, is_trained_run

Source = Literal["folder", "hub", "gguf", "embedded"]

ADAPTER = "adapter_config.json"

_LONGEST = 300

_MOST_ADAPTERS = 10
"""Adapters that stand on one another."""


@dataclass(frozen=True, slots=True)
class Location:
    """The target of a name: a folder in the layout of transformers or peft, or a GGUF file."""

    name: str
    source: Source
    path: Path

    @property
    def is_gguf(self) -> bool:
        """Return whether it is a GGUF file, the embedded model's included."""
        return self.source in {"gguf", "embedded"}


def check_model_exists(name: str) -> None:
    """Raise ModelError where a name leads nowhere on this machine, and cannot be the name of a model on the hub."""
    if name.lower() in EMBEDDED_NAMES:
        return
    try:
        path = Path(name).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    # A name too long, a folder that may not be looked into, the home of nobody.
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{name[:_LONGEST]}: no model can be there ({brief(error)})") from error
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"{name}: no such file")
        return
    if path.is_file():
        raise ModelError(f'{name}: this is a file; a model is a folder, a .gguf file, a hub name or "embedded"')
    if not path.is_dir() and not hub.is_hub_name(name):
        raise ModelError(f'{name}: no such folder; a model is a folder, a .gguf file, a hub name or "embedded"')


def check_model_is_found(name: str) -> None:
    """
    Raise ModelError where a name leads nowhere, on this machine or on the hub.

    Of a model on the hub it fetches configuration and tokenizer, without importing torch.
    """
    check_model_exists(name)
    path = Path(name).expanduser()
    if name.lower() not in EMBEDDED_NAMES and path.suffix.lower() != ".gguf" and not path.is_dir():
        hub.fetch(name, weights=False)


def locate(name: str, *, weights: bool) -> Location:
    """Find where a name leads, downloading from the hub where it must. Raises ModelError where it leads nowhere."""
    check_model_exists(name)
    path = Path(name).expanduser()
    if name.lower() in EMBEDDED_NAMES:
        return Location(name, "embedded", embedded_path())
    if path.suffix.lower() == ".gguf":
        return Location(name, "gguf", path)
    if is_trained_run(path):
        # A run stands for the model that it trained, by whose folder the model is then known.
        return locate(str(path / MODEL), weights=weights)
    is_folder = path.is_dir()
    found = Location(name, "folder" if is_folder else "hub", path if is_folder else hub.fetch(name, weights=weights))
    check_config(found.path)
    return found


def is_adapter(location: Location) -> bool:
    """Return whether an adapter is there, and no model of its own."""
    return not location.is_gguf and (location.path / ADAPTER).is_file()


def base_name(location: Location) -> str:
    """
    Return the name of the model that an adapter was trained on, from its configuration.

    Raises:
        ModelError: there is none, or its bases lead on to further adapters without end.
    """
    name = at = _named_base(location.path)
    # An adapter may stand on another one; a ring of them has no model at its end.
    for _ in range(_MOST_ADAPTERS):
        folder = Path(at).expanduser()
        folder = folder / MODEL if is_trained_run(folder) else folder
        if not (folder / ADAPTER).is_file():
            return name
        at = _named_base(folder)
    raise ModelError(f"{location.path / ADAPTER}: base_model_name_or_path leads from adapter to adapter, to no model")


def _named_base(adapter: Path) -> str:
    name = read_object(adapter / ADAPTER).get("base_model_name_or_path")
    if not name or not isinstance(name, str):
        raise ModelError(f"{adapter / ADAPTER}: base_model_name_or_path is empty; write the adapter's base model there")
    return _moved_with(adapter, name)


def _moved_with(adapter: Path, name: str) -> str:
    """
    Return where an adapter's base is now.

    A relative folder is looked for here, and then beside each folder that the adapter is in, from the innermost on: so
    a project may be moved as a whole, and be used from anywhere.

    Raises:
        ModelError: it is a folder of this machine that is not there.
    """
    try:
        path = Path(name).expanduser()
        if path.exists() or name.lower() in EMBEDDED_NAMES:
            return name
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{adapter / ADAPTER}: {name[:_LONGEST]} can be no model ({brief(error)})") from error
    if path.is_absolute():
        raise ModelError(
            f"{name} is the base of the adapter in {adapter}, and there is no such folder; put it back, or write its "
            f"new place as base_model_name_or_path into {adapter / ADAPTER}"
        )
    beside = (folder / path for folder in adapter.resolve().parents)
    marks = ("config.json", ADAPTER)
    return next((str(at) for at in beside if at.is_file() or any((at / mark).is_file() for mark in marks)), name)


def brief(error: Exception) -> str:
    """Return an error's text in one line of bounded length: transformers lists all architectures that it knows."""
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
