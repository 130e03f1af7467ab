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
from typing import Any, TypeAlias

from haloes.errors import ConfigError
from haloes.losses._contract import Loss, Needs, metrics_line
from haloes.losses._type_check import PARTS, declared, fits, in_words
from haloes.losses.aot_unpaired import AOTUnpaired
from haloes.losses.apo_down import APODown
from haloes.losses.bco import BCO
from haloes.losses.bradley_terry import BradleyTerry
from haloes.losses.cdpo import CDPO
from haloes.losses.cpo import CPO
from haloes.losses.csft import CSFT
from haloes.losses.discopop import DiscoPOP
from haloes.losses.dpo import DPO
from haloes.losses.dpop import DPOP
from haloes.losses.dro import DRO
from haloes.losses.dro_value import DROValue
from haloes.losses.exo import EXO
from haloes.losses.f_dpo_alpha import AlphaDivergenceDPO
from haloes.losses.f_dpo_forward_kl import ForwardKLDPO
from haloes.losses.f_dpo_jensen_shannon import JensenShannonDPO
from haloes.losses.halo import HALO
from haloes.losses.hinge import Hinge
from haloes.losses.humanline import Humanline
from haloes.losses.ipo import IPO
from haloes.losses.kto import KTO
from haloes.losses.ld_dpo import LDDPO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.mixture import Mixture
from haloes.losses.nca import NCA
from haloes.losses.npo import NPO
from haloes.losses.orpo import ORPO
from haloes.losses.pmpo import PMPO
from haloes.losses.ppo import PPO
from haloes.losses.ppo_value import PPOValue
from haloes.losses.presets import BUILT, Built
from haloes.losses.robust_dpo import RobustDPO
from haloes.losses.sft import SFT
from haloes.losses.simpo import SimPO
from haloes.losses.slic import SLiC
from haloes.losses.sppo import SPPO
from haloes.losses.una import UNA
from haloes.losses.una_score import UNAScore
from haloes.losses.unlikelihood import Unlikelihood
from haloes.losses.wpo import WPO

Maker: TypeAlias = type[Any] | Built
"""What makes a loss from its hyperparameters: its class, or what puts it together."""

LOSSES: Mapping[str, Maker] = MappingProxyType(
    {
        "kto": KTO,
        "kto-no-reference-point": BUILT["kto-no-reference-point"],
        "kto-concave": BUILT["kto-concave"],
        "kto-risk-neutral": BUILT["kto-risk-neutral"],
        "kto-reference-free": BUILT["kto-reference-free"],
        "kahneman-tversky": BUILT["kahneman-tversky"],
        "dpo": DPO,
        "sft": SFT,
        "csft": CSFT,
        "slic": SLiC,
        "ppo": PPO,
        "ppo-value": PPOValue,
        "orpo": ORPO,
        "ipo": IPO,
        "cdpo": CDPO,
        "robust-dpo": RobustDPO,
        "hinge": Hinge,
        "simpo": SimPO,
        "cpo": CPO,
        "exo": EXO,
        "nca": NCA,
        "sppo": SPPO,
        "apo-down": APODown,
        "discopop": DiscoPOP,
        "dpop": DPOP,
        "ld-dpo": LDDPO,
        "wpo": WPO,
        "f-dpo-forward-kl": ForwardKLDPO,
        "f-dpo-jensen-shannon": JensenShannonDPO,
        "f-dpo-alpha": AlphaDivergenceDPO,
        "dpo-length-normalised": BUILT["dpo-length-normalised"],
        "dpo-sft": BUILT["dpo-sft"],
        "bradley-terry": BradleyTerry,
        "unlikelihood": Unlikelihood,
        "apo-zero": BUILT["apo-zero"],
        "bco": BCO,
        "una": UNA,
        "una-score": UNAScore,
        "dro": DRO,
        "dro-value": DROValue,
        "aot-unpaired": AOTUnpaired,
        "npo": NPO,
        "pmpo": PMPO,
        "halo": HALO,
        "humanline": BUILT["humanline"],
        "length-normalised": BUILT["length-normalised"],
        "mixture": BUILT["mixture"],
    }
)
"""First those of the KTO paper, then those on pairs, those on single completions, and what is made of others."""

_WRAPPERS = {"humanline": Humanline, "length-normalised": LengthNormalised, "mixture": Mixture}


def loss_maker(name: str) -> Maker:
    """What makes a loss by its name in the table, or by `path/to/file.py:Class`; ConfigError if there is none."""
    if name in LOSSES:
        return LOSSES[name]
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _from_file(Path(path), attribute)
    if name.endswith(".py"):
        raise ConfigError(f"loss: {name} is a file; name the class in it as well: {name}:Class")
    close = difflib.get_close_matches(name.lower(), LOSSES, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else ""
    known = ", ".join(LOSSES)
    raise ConfigError(f'loss: there is no loss "{name}".{hint} There are: {known}; or path/to/file.py:Class')


def hyperparameters(maker: Maker) -> dict[str, Any]:
    """The names of a loss's hyperparameters, with their defaults."""
    made = _made_by(maker)
    if isinstance(made, type) and dataclasses.is_dataclass(made):
        return {field.name: _default(field) for field in dataclasses.fields(made)}
    return {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}


def make_loss(name: str, settings: Mapping[str, Any], *, place: str = "loss") -> Loss[Any]:
    """
    A loss by name with hyperparameters set.

    A hyperparameter that is a loss or a dial itself is written as a mapping with its own `name`. Unknown names are
    refused with a suggestion, and so are values of the wrong kind (ConfigError, which says where under `place`).
    """
    maker = loss_maker(name)
    made = _called(maker, name, settings, list(hyperparameters(maker)), place)
    loss: Loss[Any] = made
    return loss


def loss_settings(loss: Loss[Any]) -> dict[str, Any]:
    """A loss as its section of the configuration: the name that leads to it, and its hyperparameters."""
    written: dict[str, Any] = _written(loss)
    return written


def _made_by(maker: Maker) -> Any:
    return maker.make if isinstance(maker, Built) else maker


def _called(maker: Any, name: str, settings: Mapping[str, Any], known: list[str], place: str) -> Any:
    kinds = declared(_made_by(maker))
    parts: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            has = ", ".join(known) or "none"
            raise ConfigError(f'{place}.{key}: {name} has no hyperparameter "{key}".{hint} It has: {has}')
        parts[key] = _part(f"{place}.{key}", value)
        if not fits(parts[key], kinds.get(key, Any)):
            raise ConfigError(f"{place}.{key}: {name} wants it to be {in_words(kinds[key])}, got {value!r}")
    try:
        return maker(**parts)
    except TypeError as error:
        raise ConfigError(f"{place}: {name} cannot be made from {dict(settings)}: {error}") from error


def _part(place: str, value: Any) -> Any:
    """A value as it is; what is made of parts, made."""
    if isinstance(value, list | tuple):
        return tuple(_part(f"{place}.{i}", item) for i, item in enumerate(value))
    if not isinstance(value, Mapping):
        return value
    if "name" not in value:
        raise ConfigError(f"{place}: a part is written with its name, such as {{name: logistic}}; got {dict(value)}")
    settings = {inner: item for inner, item in value.items() if inner != "name"}
    cls = PARTS.get(str(value["name"]))
    if cls is None:
        return make_loss(str(value["name"]), settings, place=place)
    return _called(cls, str(value["name"]), settings, [field.name for field in dataclasses.fields(cls)], place)


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    cls = type(value)
    named = {known: name for name, known in {**LOSSES, **PARTS, **_WRAPPERS}.items() if isinstance(known, type)}
    name = named.get(cls) or f"{_file_of(cls)}:{cls.__name__}"
    return {"name": name, **{f.name: _written(getattr(value, f.name)) for f in dataclasses.fields(value)}}


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


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
    names = getattr(cls, "metrics", ())
    if not isinstance(names, property) and not _are_names(names):
        line = metrics_line(["name", "another"])
        raise ConfigError(f"loss: {attribute} in {path} must declare its metrics like {line}, got {names!r}")
    return cls


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


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
