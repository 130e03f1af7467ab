"""`--to ollama`: a GGUF file with a Modelfile whose chat template and stop words are the tokenizer's."""

import json
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from haloes.exports.chat_form import learn_form
from haloes.exports.gguf import export_gguf
from haloes.exports.request import Exported, Request
from haloes.models.load import load_tokenizer
from haloes.progress.contract import Progress
from haloes.store import write_text
from haloes.tokens.template import Template, make_template

MODELFILE = "Modelfile"
_QUOTES = '"""'
_FROM_GGUF = (
    "so the Modelfile has no TEMPLATE, and Ollama takes what it makes of the GGUF file's own: one of its library that "
    "looks alike, or none. Look at `ollama show --template` before you use it"
)


def export_to_ollama(request: Request, progress: Progress) -> Exported:
    """
    Export a GGUF file as `export_gguf` does, with a Modelfile that `ollama create` takes.

    Raises:
        RunError: as `export_gguf`.
    """
    tokenizer = load_tokenizer(str(request.model))
    template, note = ollama_template(tokenizer)
    stop = make_template(tokenizer).end_of_turn
    made = export_gguf(request, progress, more=partial(_write_modelfile, template=template, stop=stop))
    name, file = request.file_name.lower(), shlex.quote(str(request.out / MODELFILE))
    create = f"ollama create {name} -f {file} && ollama run {name}"
    return Exported(str(request.out), (create, *made.usage[1:], note), made.comparison)


def ollama_template(tokenizer: Any) -> tuple[str | None, str]:
    """
    Return the tokenizer's chat template as Ollama takes one, and a sentence about it; None where there is no equal one.

    It writes the text of the tokenizer's in conversations without tools, which is tried before it is returned.
    """
    template = make_template(tokenizer)
    if not template.chat:
        return "{{ .Prompt }}", "The model knows no chats: Ollama passes on the prompt as it is."
    form = learn_form(template, opening=_opening(template))
    text = None if form is None else form.go_template()
    if text is None or _QUOTES in text:
        return None, f"The chat template does more than to write texts between the turns, {_FROM_GGUF}."
    tools = re.search(r"\btools\b", str(tokenizer.chat_template))
    without = " It offers no tools, which Ollama would write otherwise than the chat template does." if tools else ""
    return text, f"The Modelfile's TEMPLATE writes chats as the tokenizer's chat template does.{without}"


def _opening(template: Template) -> str:
    """Return BOS where the program that reads the file puts it before every text."""
    tokenizer = template.tokenizer
    opened = tokenizer("", add_special_tokens=True)["input_ids"]
    begins = tokenizer.bos_token_id is not None and opened[:1] == [tokenizer.bos_token_id]
    return str(tokenizer.bos_token) if begins else ""


def _write_modelfile(file: Path, *, template: str | None, stop: str) -> None:
    lines = [f"FROM ./{file.name}"]
    if template is not None:
        lines.append(f"TEMPLATE {_QUOTES}{template}{_QUOTES}")
    lines.append(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}")
    write_text(file.parent / MODELFILE, "\n".join(lines) + "\n")
