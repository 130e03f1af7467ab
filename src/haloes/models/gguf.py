"""GGUF files (llama.cpp) as plain models: dequantised once, and kept in the cache in the layout of transformers."""

import hashlib
from pathlib import Path
from typing import Any

from haloes.errors import ModelError
from haloes.models.cache import build_once, cache_dir
from haloes.models.gguf_tokenizer import read_tokenizer
from haloes.models.quiet import quiet

LAYOUT = 1
"""Raised when a conversion below changes, so that what older versions cached is not used again."""


def tokenizer_folder(path: Path) -> Path:
    """
    Return the tokenizer of the GGUF file at `path` as a folder that transformers loads; built on the first call.

    Raises:
        ModelError: the file cannot be read, or the cache cannot be written.
    """
    return build_once(_cached(path) / "tokenizer", lambda folder: _convert_tokenizer(path, folder))


def model_folder(path: Path) -> Path:
    """
    Return the weights of the GGUF file at `path`, dequantised to float32, as a folder that transformers loads.

    float32 holds what the file says exactly: a quantised weight is a half-precision scale times a small integer plus a
    half-precision offset. The first call takes half a minute for 135 million weights, later ones none.

    Raises:
        ModelError: the file cannot be read or converted, or the cache cannot be written.
    """
    return build_once(_cached(path) / "model", lambda folder: _convert_model(path, folder))


def unpack(path: Path, folder: Path) -> None:
    """
    Write the weights and the tokenizer of the GGUF file at `path` into a folder that transformers loads, uncached.

    Raises:
        ModelError: the file cannot be read or converted.
    """
    _convert_model(path, folder)
    _convert_tokenizer(path, folder)


def _cached(path: Path) -> Path:
    import transformers

    # By content and not by path: a file that is replaced is converted again, and a copy elsewhere is not.
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    return cache_dir() / "gguf" / f"{digest[:20]}-transformers-{transformers.__version__}-{LAYOUT}"


def _convert_tokenizer(path: Path, folder: Path) -> None:
    _require_reader(path)
    try:
        with quiet():
            read_tokenizer(path).save_pretrained(folder)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _unreadable(path, error) from error


def _convert_model(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    _require_reader(path)
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(**source)
            packed = AutoModelForCausalLM.from_pretrained(
                **source, config=config, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
            )
    except (ValueError, KeyError, IndexError, OSError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    with quiet():
        _as_plain(packed).save_pretrained(folder)


def _as_plain(packed: Any) -> Any:
    """Return a model of the same weights that knows nothing of GGUF: `save_pretrained` refuses one that does."""
    import torch
    from transformers import AutoModelForCausalLM

    fields = packed.config.to_dict()
    for name in ("quantization_config", "_model_name_or_path", "_name_or_path"):
        fields.pop(name, None)
    config = type(packed.config).from_dict(fields)
    # No second allocation of the weights: they are assigned, not copied.
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(packed.state_dict(), assign=True)
    # What a config ties has become two tensors by the assignment.
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    return plain


def _require_reader(path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("gguf") is None:
        raise ModelError(f"{path}: reading a GGUF file needs the package gguf. Run: pip install gguf")


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: transformers cannot turn this GGUF file into a model ({error}). "
        "Check that the download is complete, or use the model's original folder in the transformers layout."
    )
