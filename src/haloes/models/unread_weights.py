"""
A model whose weights stay in their files, until each process that shares them reads its own rows.

    model_in_files    makes the model in host memory with one number in the place of each weight, so that adapters,
                      heads and a trial of its passes find what they look for: shapes, dtypes, buffers, the device
    files_of          returns where the weights of such a model are
    why_whole         says why a model has to be loaded whole instead

Weights are read so only where the files hold them as the model does: name for name, in one of transformers' layouts.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.load_fault import load_fault
from haloes.models.locate import Location
from haloes.models.quiet import quiet
from haloes.models.untrusted_folder import read_object
from haloes.models.weight_shards import is_shard

_FILES = "haloes_unread_weights"
"""Attribute of a model whose weights are in files still."""
_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, slots=True, eq=False)
class UnreadWeights(Mapping[str, Tensor]):
    """The weights of a model in its files, by every name in its `state_dict`; each is read whenever it is asked for."""

    places: Mapping[str, tuple[Path, str]]
    """The file of each, and its name there: of weights that are one, the one name that is there."""
    dtype: torch.dtype
    """What they are given in."""

    def __getitem__(self, name: str) -> Tensor:
        """Return a whole weight."""
        path, key = self.places[name]
        with _opened(path) as file:
            found: Tensor = file.get_tensor(key).to(self.dtype)
        return found

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self.places)

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self.places)

    def rows(self, name: str, rows: slice) -> Tensor:
        """Return some rows of a weight; nothing else of it is read."""
        path, key = self.places[name]
        with _opened(path) as file:
            found: Tensor = file.get_slice(key)[rows].to(self.dtype)
        return found

    def once(self) -> dict[tuple[Path, str], list[str]]:
        """Return what is in the files, each tensor with all names that it has in the model."""
        found: dict[tuple[Path, str], list[str]] = {}
        for name, place in self.places.items():
            found.setdefault(place, []).append(name)
        return found


def files_of(model: Any) -> UnreadWeights | None:
    """Return where the weights of a model are that has none of its own yet; None for any other."""
    found: UnreadWeights | None = getattr(model, _FILES, None)
    return found


def take_files(model: Any) -> UnreadWeights | None:
    """Return the same, for who gives the model its weights now: from then on it is like any other."""
    found = files_of(model)
    if found is not None:
        delattr(model, _FILES)
    return found


def model_in_files(location: Location, folder: Path, dtype: torch.dtype) -> Any:
    """
    Return a model whose weights are in the files of a folder, in eval mode.

    Args:
        location: the model, for messages.
        folder: where its config and its files are; `why_whole` has nothing against them.
        dtype: what it computes in.

    Raises:
        ModelError: it cannot be made.
    """
    from transformers import GenerationConfig
    from transformers.utils import GENERATION_CONFIG_NAME

    try:
        empty = _without_weights(folder, dtype)
        model = with_weights(empty, lambda weight: stand_in(weight, dtype))
        if (folder / GENERATION_CONFIG_NAME).is_file():
            model.generation_config = GenerationConfig.from_pretrained(str(folder))
    except Exception as error:
        raise load_fault(location, "model", error) from error
    setattr(model, _FILES, UnreadWeights(_places(folder, empty), dtype))
    return model.eval()


def why_whole(location: Location, folder: Path, dtype: torch.dtype) -> str | None:
    """
    Return why a model has to be loaded whole, and not row by row from its files; None where it need not be.

    Raises:
        ModelError: it cannot be made.
    """
    if "quantization_config" in read_object(folder / "config.json"):
        return "its weights are quantized"
    try:
        model, exact = (_without_weights(folder, each) for each in (dtype, torch.float32))
    except Exception as error:
        raise load_fault(location, "model", error) from error
    return next(_obstacles(model, exact, dtype, folder), None)


def _obstacles(model: Any, exact: Any, dtype: torch.dtype, folder: Path) -> Iterator[str]:
    """Say why the files of a folder cannot be read row by row into a model of a dtype, given in float32 too."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    kept = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if set(model.state_dict()) - set(weights):
        yield "it saves numbers beside its weights"
    if any(getattr(model, name, None) for name in kept) or any(weight.dtype != dtype for weight in weights.values()):
        yield "it keeps some weights in another dtype than the others"
    # transformers computes them in float32 where it loads a model, and in the model's dtype where it makes one.
    if any(not torch.equal(a, b.to(a.dtype)) for a, b in zip(model.buffers(), exact.buffers(), strict=True)):
        yield "it computes numbers beside its weights that depend on the dtype"
    if any(type(module) is not torch.nn.Linear for module in linear):
        yield "some of its linear layers compute in their own way"
    if _are_converted(model):
        yield "transformers makes its weights out of others in its files"
    if (mismatch := _mismatch(folder, model)) is not None:
        yield mismatch


def stand_in(weight: Tensor, dtype: torch.dtype) -> torch.nn.Parameter:
    """Return a weight of this shape in host memory all of whose numbers are one and the same, which takes no memory."""
    number = torch.zeros((), dtype=dtype)
    return torch.nn.Parameter(number.expand(weight.shape), requires_grad=weight.requires_grad)


def is_stand_in(weight: Tensor) -> bool:
    """Return whether all numbers of a weight are one and the same in memory."""
    return not is_shard(weight) and weight.numel() > 1 and not any(weight.stride())


def with_weights(model: Any, new: Callable[[torch.nn.Parameter], torch.nn.Parameter]) -> Any:
    """Return a copy of a model with another weight in the place of each; weights that are one stay one."""
    # What is in the memo is not copied.
    return copy.deepcopy(model, {id(weight): new(weight) for weight in model.parameters()})


def _without_weights(folder: Path, dtype: torch.dtype) -> Any:
    """Return the model of a folder with weights of shapes only ("meta"), and with its buffers as they are computed."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet(), init_empty_weights(include_buffers=False):
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    # Each weight was replaced when it was put in place, also those that had been one.
    model.tie_weights()
    return model


def _are_converted(model: Any) -> bool:
    """Return whether transformers renames or computes the weights of this architecture when it reads them."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    return bool(get_model_conversion_mapping(model, add_legacy=False))


def _mismatch(folder: Path, model: Any) -> str | None:
    """Return in what the files of a folder differ from the weights of a model; None where they are the same."""
    from safetensors import SafetensorError

    try:
        keys = _keys(folder)
    except (OSError, ValueError, KeyError, AttributeError, ModelError, SafetensorError):
        return f"its weights are in files other than {_ONE} or those that {_INDEX} names"
    for names in _names(model).values():
        there = [name for name in names if name in keys]
        if not there:
            return f"{names[0]} is not in its files by this name"
        if len(there) > 1:
            return f"{there[0]} is in its files more than once"
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters(remove_duplicate=False)}
    for path in set(keys.values()):
        with _opened(path) as file:
            for key in file.keys():  # noqa: SIM118 - it is no mapping
                if key in shapes and tuple(file.get_slice(key).get_shape()) != shapes[key]:
                    return f"{key} has another shape in its files"
    return None


def _places(folder: Path, model: Any) -> dict[str, tuple[Path, str]]:
    """Return the file of each weight of a model, and its name there."""
    keys = _keys(folder)
    found: dict[str, tuple[Path, str]] = {}
    for names in _names(model).values():
        key = next(name for name in names if name in keys)
        found |= dict.fromkeys(names, (keys[key], key))
    return found


def _names(model: Any) -> dict[int, list[str]]:
    """Return all names of each weight of a model."""
    found: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(weight), []).append(name)
    return found


def _keys(folder: Path) -> dict[str, Path]:
    """Return the file of each tensor that is in a folder, in the order in which transformers looks for files."""
    if (folder / _ONE).is_file():
        with _opened(folder / _ONE) as file:
            return dict.fromkeys(file.keys(), folder / _ONE)
    found: dict[str, Path] = {}
    for name in sorted(set(read_object(folder / _INDEX)["weight_map"].values())):
        path = folder / Path(name).name
        with _opened(path) as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def _opened(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(str(path), framework="pt")
