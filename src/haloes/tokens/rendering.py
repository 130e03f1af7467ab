"""Calls of a tokenizer's chat template: messages in, text out, and a refusal of the template's own as a DataError."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from haloes.errors import DataError, ModelError
from haloes.records import Message
from haloes.records_json import message_to_json
from haloes.thoughts import KEYS
from haloes.tokens.bounded_template import TOO_MANY, bounded_template
from haloes.tokens.chat_template import MERGE_SYSTEM

MERGE_HINT = (
    f"; tokens.chat_template_kwargs.{MERGE_SYSTEM}=true puts the words of a system turn before the first user turn, in "
    "training, in sampling and in the saved template"
)
"""What to do about a system turn that a template does not take."""

_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What the program that a template is may raise, or Python as it compiles it (for want of room for twenty loops)."""


def render_messages(
    tokenizer: Any,
    messages: Sequence[Message],
    tools: Any = (),
    *,
    generation: bool,
    kwargs: Mapping[str, Any] | None = None,
    parts: Collection[str] = (),
) -> str:
    """
    Render messages with the chat template; a template's own refusal becomes a DataError with its words.

    Args:
        tokenizer: whose template is called.
        messages: the turns.
        tools: definitions of the tools that are offered.
        generation: whether the generation prompt follows, with which the model begins to speak.
        kwargs: further variables of the template.
        parts: roles whose words the template wants as a list of parts, and not as a string.

    Raises:
        DataError: the template refuses these messages.
        ModelError: the template's loops do not come to an end.
    """
    from jinja2 import TemplateError

    offered = [dict(tool) for tool in tools] or None
    try:
        text: str = tokenizer.apply_chat_template(
            [_as_dict(message, parts) for message in messages],
            tools=offered,
            chat_template=bounded_template(tokenizer, offered),
            tokenize=False,
            add_generation_prompt=generation,
            **(kwargs or {}),
        )
    except (TemplateError, *_FAILURES) as error:
        if TOO_MANY in str(error):
            raise ModelError(f"the chat template does not come to an end: {TOO_MANY}") from error
        # Templates refuse with raise_exception, or stumble over a value of a type that they do not expect.
        without = messages[1:] if messages and messages[0].role == "system" else ()
        hint = MERGE_HINT if render_together(tokenizer, [without], generation=generation, parts=parts) else ""
        raise DataError(f"the chat template refuses these messages: {error}{hint}") from error
    return text


def render_together(
    tokenizer: Any, conversations: Sequence[Sequence[Message]], *, generation: bool, parts: Collection[str] = ()
) -> list[str]:
    """Render each conversation with the chat template; return nothing where the template refuses one of them."""
    from jinja2 import TemplateError

    if not any(conversations):
        return []
    turns = [[_as_dict(message, parts) for message in messages] for messages in conversations]
    try:
        texts: list[str] = tokenizer.apply_chat_template(
            turns, chat_template=bounded_template(tokenizer), tokenize=False, add_generation_prompt=generation
        )
    except (TemplateError, *_FAILURES):  # the refused one shows when each is rendered alone
        return []
    return texts


def _as_dict(message: Message, parts: Collection[str]) -> dict[str, Any]:
    turn = message_to_json(message)
    if message.role in parts:
        turn["content"] = [{"type": "text", "text": message.content}]
    if message.tool_calls:
        turn["tool_calls"] = [_call_as_dict(call) for call in message.tool_calls]
    # Each template reads the thought of a turn under a name of its own; logs have it under any of them.
    if message.role == "assistant" and (thought := next((turn[key] for key in KEYS if turn.get(key)), None)):
        turn |= dict.fromkeys(KEYS, thought)
    return turn


def _call_as_dict(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call with its arguments as values: OpenAI has them as a string of JSON, templates do not."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}
