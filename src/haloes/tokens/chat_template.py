"""What haloes writes into a tokenizer's chat template, so that every program that uses the template does the same."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from haloes.errors import ConfigError

CONTROL_KEY = "haloes_control"
"""Key of `tokenizer_config.json` for the control text of the model that the tokenizer was saved with. A chat template
writes it itself; without one haloes does."""
MERGE_SYSTEM = "merge_system"
"""A variable that haloes adds to templates on request: true puts the words of a system turn before the first user's."""
_MERGES = (
    f"{{% if {MERGE_SYSTEM} and messages | length > 1 and messages[0]['role'] == 'system' "
    "and messages[1]['role'] == 'user' and messages[0]['content'] is string and messages[1]['content'] is string %}"
    r"{% set messages = [{'role': 'user', 'content': messages[0]['content'] + '\n\n' + messages[1]['content']}]"
    " + messages[2:] %}{% endif %}\n"
)
"""Plain Jinja, which smaller readers of templates know too."""
_GIVEN = frozenset({"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"})
"""Variables of every chat template, which its caller gives."""


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


def with_template_kwargs(tokenizer: Any, kwargs: Mapping[str, Any] | None) -> Any:
    """
    Return a copy of a tokenizer whose chat template has these values for its variables, where nobody gives others.

    The template states them itself, so that they hold in training, in sampling, and for every later user of the model.
    `MERGE_SYSTEM` is one that each template can be given.

    Raises:
        ConfigError: there is no chat template, it reads no such variable, or a value cannot be written in it.
    """
    if not kwargs:
        return tokenizer
    where = "tokens.chat_template_kwargs"
    if not tokenizer.chat_template:
        raise ConfigError(f"{where} is set, but the tokenizer has no chat template; leave it out")
    texts = tokenizer.chat_template
    read = " ".join(texts.values()) if isinstance(texts, dict) else texts
    for name in kwargs:
        if name in _GIVEN or not name.isidentifier():
            raise ConfigError(f"{where}: {name!r} is not for you to set; name a variable of the chat template")
        if not re.search(rf"\b{name}\b", read) and name != MERGE_SYSTEM:
            raise ConfigError(f"{where}: the chat template does not read {name!r}; correct the name, or leave it out")
    # On a line of its own: a template's first line break and spaces mean what they did.
    lines = "".join(
        f"{{% if {name} is not defined %}}{{% set {name} = {_literal(value)} %}}{{% endif %}}"
        for name, value in kwargs.items()
    )
    head = f"{lines}\n" + (_MERGES if MERGE_SYSTEM in kwargs else "")
    changed = copy.deepcopy(tokenizer)
    # Not once more where a model was saved with the same values before.
    changed.chat_template = each_template(texts, lambda text: head + text.removeprefix(head))
    return changed


def _literal(value: object) -> str:
    """Return a value as Jinja spells it. Raises ConfigError for one that it cannot spell."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(item)}" for key, item in value.items()) + "}"
    raise ConfigError(
        f"tokens.chat_template_kwargs: {value!r} is neither a number, text, true, false, a list nor names"
    )


def with_end_of_text(tokenizer: Any, end: str) -> Any:
    """
    Return a copy of a tokenizer whose end of text is `end`, so that other programs stop there.

    The tokenizer itself where it is so already, or where its chat template writes the end of text: that would change.
    """
    texts = tokenizer.chat_template or ""
    read = " ".join(texts.values()) if isinstance(texts, dict) else texts
    if tokenizer.eos_token == end or "eos_token" in read:
        return tokenizer
    changed = copy.deepcopy(tokenizer)
    changed.eos_token = end
    return changed


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
