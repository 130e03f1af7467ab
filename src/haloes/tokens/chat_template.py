"""What haloes writes into a tokenizer's chat template, so that every program that uses the template does the same."""

import copy
import json
from collections.abc import Callable
from typing import Any

CONTROL_KEY = "haloes_control"
"""Key of `tokenizer_config.json` for the control text of the model that the tokenizer was saved with. A chat template
writes it itself; without one haloes does."""


def control_text(tokenizer: Any) -> str:
    """Return the control text that the tokenizer was saved with; empty for most."""
    return str(tokenizer.init_kwargs.get(CONTROL_KEY) or "")


def with_control_text(tokenizer: Any, control: str) -> Any:
    """
    Return a copy of a tokenizer that adds a control text to every prompt, after one that it may have already.

    A chat template writes it after its generation prompt, for every user of the template; `CONTROL_KEY` is for haloes.
    """
    if not control:
        return tokenizer
    controlled = copy.deepcopy(tokenizer)
    controlled.init_kwargs[CONTROL_KEY] = control_text(tokenizer) + control
    if controlled.chat_template:
        controlled.chat_template = each_template(controlled.chat_template, lambda text: _add_control(text, control))
    return controlled


def each_template(chat_template: Any, change: Callable[[str], str]) -> Any:
    """Return a tokenizer's chat template changed: one text, or several by name (default, tool_use ...)."""
    if isinstance(chat_template, dict):
        return {name: change(text) for name, text in chat_template.items()}
    return change(chat_template)


def _add_control(chat_template: str, control: str) -> str:
    written = json.dumps(control, ensure_ascii=False)  # Jinja reads \u escapes one by one, and not as surrogate pairs
    return chat_template.removesuffix("\n") + f"{{% if add_generation_prompt %}}{{{{ {written} }}}}{{% endif %}}"


def plain_chat_template(tokenizer: Any, end: str) -> str:
    """Return a chat template for a tokenizer without one: the turns' words, begun and ended as plain text is."""
    opened = tokenizer("", add_special_tokens=True)["input_ids"]
    begins = "{{ bos_token }}" if tokenizer.bos_token_id in opened[:1] else ""
    turns = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return f"{begins}{turns}{{% if not add_generation_prompt %}}{{{{ {json.dumps(end)} }}}}{{% endif %}}"
