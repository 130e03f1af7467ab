"""
Prompts, completions and the turns of a chat as other tools write them, parsed strictly into `Text` and `Message`.

`parse_prompt` and `parse_completion` say what either must be to be trained on; what is not is refused.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from haloes.feedback.chats_in_text import spelled_turns
from haloes.feedback.reasoning import (
    is_reasoning_part,
    join_reasoning,
    reasoning_of_fields,
    reasoning_of_part,
    without_details,
)
from haloes.feedback.refusals import Reason, RefusalError, short_repr
from haloes.feedback.roles import ROLES
from haloes.records import MESSAGE_KEYS, Message, Text, plain_text
from haloes.thoughts import KEYS, split_thought

_CALLING_ROLES = {"function_call", "tool_call"}
"""Roles of turns whose content is not words but the JSON of the assistant's tool calls."""

_READ = MESSAGE_KEYS | {"from", "value", "function_call"}
"""Keys of a turn that become a role, words and calls; "from" and "value" are ShareGPT's spelling of the first two."""
_TEXT_PARTS = {"text", "input_text", "output_text"}
_MOST_LEVELS = 100
"""Objects and lists inside each other; tool definitions have about ten, and a template renders them level by level."""
_MEDIA = re.compile("image|audio|video|file|document")


def parse_prompt(value: object, *, system: object = None, column: str = "prompt") -> Text:
    """
    Parse a prompt: a text that is not blank, or turns of which one is the user's and the last not the assistant's.

    Args:
        value: The row's value: a text, a turn or a list of turns.
        system: The value of the row's `system` column, if it has one; it becomes the first turn.
        column: Name of the column in messages.

    Raises:
        RefusalError: The value is none of these.
    """
    prompt = _parse(value, column=column, missing="empty prompt")
    return check_prompt(with_system(prompt, system), column=column)


def parse_completion(value: object, *, column: str = "completion") -> Text:
    """
    Parse a completion: a text that is not blank, or turns that begin and end with the assistant's.

    Raises:
        RefusalError: The value is neither.
    """
    completion = _parse(value, column=column, missing="no completion")
    words, reasoning = without_details(completion) if isinstance(completion, str) else (completion, "")
    if reasoning:
        completion = (Message("assistant", str(words), extra=((KEYS[0], reasoning),)),)
    return check_completion(completion, column=column)


def check_prompt(prompt: Text, *, column: str = "prompt") -> Text:
    """
    Return the prompt unchanged, if it is one (see `parse_prompt`).

    Raises:
        RefusalError: It is not.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise RefusalError("empty prompt", f"the {column} is blank", column=column)
        return prompt
    # Words of the system alone ask nothing; a blank turn may still call a tool.
    if not any(message.content.strip() or message.tool_calls for message in prompt if message.role != "system"):
        raise RefusalError("empty prompt", f"the {column} has no words beside a system message", column=column)
    if not any(message.role == "user" for message in prompt):
        raise RefusalError("no user turn", f"the {column} has no turn of the user", column=column)
    if prompt[-1].role == "assistant":
        raise RefusalError(
            "prompt ends with assistant turn",
            f"the {column} ends with an assistant turn, so that the completion answers nobody",
            column=column,
        )
    return prompt


def check_completion(completion: Text, *, column: str = "completion") -> Text:
    """
    Return the completion unchanged, if it is one (see `parse_completion`).

    Raises:
        RefusalError: It is not.
    """
    if isinstance(completion, str):
        if not completion.strip():
            raise RefusalError("empty completion", f"the {column} is blank", column=column)
        _check_answers(completion, column=column)
        return completion
    if not completion:
        raise RefusalError("empty completion", f"the {column} has no turn", column=column)
    # Between the two, turns of a tool or of the user may stand: they are shown to the model and not trained.
    for position, message in (("last", completion[-1]), ("first", completion[0])):
        if message.role != "assistant":
            raise RefusalError(
                "first turn not assistant" if position == "first" else "last turn not assistant",
                f"the {position} turn of the {column} is a {message.role} turn; it must be the assistant's",
                column=column,
            )
    if not completion[-1].content.strip() and not completion[-1].tool_calls:
        raise RefusalError("empty completion", f"the last turn of the {column} is blank", column=column)
    if not completion[-1].tool_calls:
        _check_answers(completion[-1].content, column=column)
    return completion


def _check_answers(text: str, *, column: str) -> None:
    """Raise RefusalError for an answer that is the reasoning before one, and nothing else."""
    thought = split_thought(text)
    if thought is not None and not thought.rest.strip():
        raise RefusalError("empty completion", f"the {column} holds reasoning and no answer after it", column=column)


def with_system(prompt: Text, system: object) -> Text:
    """
    Put the system message of a row's own column before the prompt; a blank one changes nothing.

    Raises:
        RefusalError: The message is not text, or the prompt has a different system message of its own.
    """
    if system is None or system == "":
        return prompt
    if not isinstance(system, str):
        raise RefusalError("wrong type", f"the system message is {short_repr(system)}, not text", column="system")
    if not clean_text(system, subject="the system message", column="system").strip():
        return prompt
    # Only a chat has a system turn, so a plain prompt becomes one.
    if isinstance(prompt, str):
        return (Message("system", system), Message("user", prompt))
    if not prompt or prompt[0].role != "system":
        return (Message("system", system), *prompt)
    if prompt[0].content != system:
        raise RefusalError(
            "two system messages",
            "the system column and the first turn hold different system messages; drop one (--columns system=)",
            column="system",
        )
    return prompt


def same_completion(first: Text, second: Text) -> bool:
    """Return whether two completions are the same words and calls; blanks around a text make no difference."""
    return first == second or _bare(first) == _bare(second)


def same_words(first: tuple[Message, ...], second: tuple[Message, ...]) -> bool:
    """Return whether two chats have the same roles, words and calls; times and other keys make no difference."""
    return [(m.role, m.content, m.tool_calls) for m in first] == [(m.role, m.content, m.tool_calls) for m in second]


def split_last_turn(value: object, *, column: str) -> tuple[list[Any], list[Any]]:
    """
    Split a chat into the turns before the last, and the last in a list of its own.

    Raises:
        RefusalError: There is no turn.
    """
    if not isinstance(value, list | tuple):
        raise RefusalError("wrong type", f"{column} is {short_repr(value)}, not the turns of a chat", column=column)
    if not value:
        raise RefusalError("no completion", f"{column} has no turn", column=column)
    return list(value[:-1]), list(value[-1:])


def is_messages(value: object) -> bool:
    """Return whether a value looks like the turns of a chat: a list whose first item has a role."""
    return isinstance(value, list | tuple) and bool(value) and is_message(value[0])


def is_message(value: object) -> bool:
    """Return whether a value looks like one turn of a chat."""
    return isinstance(value, Mapping) and (value.get("role") is not None or value.get("from") is not None)


def role_of(message: Mapping[str, Any], *, subject: str) -> str:
    """
    Return the canonical role of a turn: "system", "user", "assistant" or "tool".

    Raises:
        RefusalError: The turn has no role, or an unknown one.
    """
    named = message.get("role")
    named = message.get("from") if named is None else named
    role = ROLES.get(named.strip().lower()) if isinstance(named, str) else None
    if role is None:
        roles = "system, user (human), assistant (gpt, model), tool (observation)"
        raise RefusalError("unknown role", f"{subject} has the role {short_repr(named)}; known are {roles}")
    return role


def parse_messages(value: object, *, column: str) -> tuple[Message, ...]:
    """
    Parse the turns of a chat; a single turn counts as a chat of one.

    Both spellings are read: `role`/`content` (OpenAI) and `from`/`value` (ShareGPT). Text parts are joined.

    Raises:
        RefusalError: Something is not a turn, has an unknown role, or holds more than text and tool calls.
    """
    turns = [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, list | tuple):
        raise RefusalError("wrong type", f"{column} is {short_repr(value)}, not the turns of a chat", column=column)
    return tuple(_message(turn, subject=f"{column}[{number}]", column=column) for number, turn in enumerate(turns))


def clean_text(value: str, *, subject: str, column: str | None = None) -> str:
    """
    Return the text unchanged, if it can be encoded as UTF-8.

    Raises:
        RefusalError: It holds half of a surrogate pair (a broken escape in JSON, or bytes that are not UTF-8).
    """
    # JSON's "\ud83d" alone is a valid Python string, which neither a tokenizer nor a file takes.
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RefusalError(
            "invalid unicode",
            f"{subject} holds invalid unicode at character {error.start + 1}; save the file as UTF-8",
            column=column,
        ) from error
    return value


def clean_json(value: object, *, subject: str, column: str | None = None, levels: int = _MOST_LEVELS) -> Any:
    """
    Return a value as JSON has it: times and the like, which columnar files have, become text.

    Raises:
        RefusalError: A text in it is no unicode, or it is nested more than `levels` deep.
    """
    if levels < 0:
        raise RefusalError("wrong type", f"{subject} is nested more than {_MOST_LEVELS} levels deep", column=column)

    def inside(item: object) -> Any:
        return clean_json(item, subject=subject, column=column, levels=levels - 1)

    if isinstance(value, Mapping):
        return {clean_text(str(key), subject=subject, column=column): inside(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [inside(item) for item in value]
    if isinstance(value, str):
        return clean_text(value, subject=subject, column=column)
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _message(turn: object, *, subject: str, column: str) -> Message:
    """Parse one turn of either spelling."""
    if not isinstance(turn, Mapping):
        raise RefusalError(
            "wrong type", f"{subject} is {short_repr(turn)}, not a turn with role and content", column=column
        )
    role = role_of(turn, subject=subject)
    content = turn.get("content")
    content = turn.get("value") if content is None else content
    extra = _extra(turn)
    if role == "assistant":
        content, reasoning = _without_reasoning(content, turn)
        extra = tuple(item for item in extra if item[0] not in KEYS or not isinstance(item[1], str))
        extra += ((KEYS[0], clean_text(reasoning, subject="the reasoning", column=column)),) if reasoning else ()
    # ShareGPT has tool calls as turns of their own, with the call as JSON in place of words.
    named = turn.get("role") or turn.get("from")
    if str(named).strip().lower() in _CALLING_ROLES:
        return Message(role, "", _calls_in_text(content, subject=subject, column=column), extra)
    calls = _tool_calls(turn, subject=subject, column=column)
    # OpenAI writes null beside tool calls. Elsewhere null is a fault.
    if content is None and role == "assistant":
        content = ""
    return Message(role, _content(content, subject=subject, column=column), calls, extra)


def _without_reasoning(content: object, turn: Mapping[str, Any]) -> tuple[object, str]:
    """Return the content of an assistant's turn without the reasoning that a tool put there, and all reasoning."""
    found = [reasoning_of_fields(turn)]
    if isinstance(content, list | tuple):
        found += [reasoning_of_part(part) for part in content if is_reasoning_part(part)]
        content = [part for part in content if not is_reasoning_part(part)]
    elif isinstance(content, str):
        content, folded = without_details(content)
        found.append(folded)
    return content, join_reasoning(found)


def _extra(turn: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the other keys of a turn with their values as JSON has them: a template may read any of them."""
    return tuple(
        (clean_text(key, subject="a key of a turn"), clean_json(value, subject=key))
        for key, value in turn.items()
        if key not in _READ and not _is_missing(value)
    )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _content(content: object, *, subject: str, column: str) -> str:
    """Return the text of a turn's content, given as text or in parts."""
    if isinstance(content, str):
        return clean_text(content, subject=subject, column=column)
    # Parts are pieces of one text: nothing is put between them.
    if isinstance(content, list | tuple):
        return "".join(_part(part, subject=subject, column=column) for part in content)
    if isinstance(content, float) and content != content:  # noqa: PLR0124  # only NaN differs from itself
        raise RefusalError("NaN", f"the content of {subject} is NaN, not text", column=column)
    raise RefusalError("wrong type", f"the content of {subject} is {short_repr(content)}, not text", column=column)


def _part(part: object, *, subject: str, column: str) -> str:
    """Return the text of one part of a content; refuse media and other parts."""
    if isinstance(part, str):
        return clean_text(part, subject=subject, column=column)
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get("text") if isinstance(part, Mapping) else None
    if isinstance(kind, str) and kind in _TEXT_PARTS and isinstance(text, str):
        return clean_text(text, subject=subject, column=column)
    if isinstance(kind, str) and _MEDIA.search(kind):
        message = f"{subject} holds a part of type {kind!r}; only text can be trained on"
        raise RefusalError("multimodal content", message, column=column)
    what = f"type {kind!r}" if isinstance(kind, str) else short_repr(part)
    raise RefusalError("content part", f"{subject} holds a part ({what}) that is not text", column=column)


def _tool_calls(turn: Mapping[str, Any], *, subject: str, column: str) -> tuple[Mapping[str, Any], ...]:
    """Return the tool calls of a turn, in the OpenAI shape."""
    # `function_call` is OpenAI's older spelling for a single call.
    calls = turn.get("tool_calls")
    if not calls and isinstance(turn.get("function_call"), Mapping):
        calls = [{"type": "function", "function": turn["function_call"]}]
    if not calls:
        return ()
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) for call in calls):
        raise RefusalError(
            "wrong type", f"the tool_calls of {subject} are {short_repr(calls)}, not a list of calls", column=column
        )
    return tuple(clean_json(call, subject=f"a tool call of {subject}", column=column) for call in calls)


def _calls_in_text(content: object, *, subject: str, column: str) -> tuple[Mapping[str, Any], ...]:
    """Parse the calls of a `function_call` turn, whose content is JSON: {"name", "arguments"} or a list of these."""
    try:
        value = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError):
        value = None
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        message = (
            f"{subject} is a tool call, and its content {short_repr(content)} is not JSON with a name and arguments"
        )
        raise RefusalError("wrong type", message, column=column)
    return tuple(
        {"type": "function", "function": clean_json(call, subject=f"the tool call {subject}", column=column)}
        for call in calls
    )


def _bare(text: Text) -> object:
    if isinstance(text, str):
        return text.strip()
    if len(text) == 1 and not text[0].tool_calls:
        return plain_text(text).strip()
    return [(turn.role, turn.content, turn.tool_calls) for turn in text]


def _spelled(text: str, *, column: str) -> object:
    """Return the turns that a text spells, None for any other text; refuse what only looks like turns."""
    try:
        return spelled_turns(text)
    except RefusalError as refused:
        raise RefusalError(refused.reason, f"the {column}: {refused.message}", column=column) from refused


def _parse(value: object, *, column: str, missing: Reason) -> Text:
    """Parse a text or the turns of a chat; refuse other values."""
    if isinstance(value, str):
        turns = _spelled(value, column=column)
        if turns is None:
            return clean_text(value, subject=f"the {column}", column=column)
        value = turns
    if value is None:
        raise RefusalError(missing, f"the {column} is null", column=column)
    if isinstance(value, float) and math.isnan(value):
        raise RefusalError("NaN", f"the {column} is NaN, not text", column=column)
    if not isinstance(value, list | tuple | dict):
        raise RefusalError(
            "wrong type", f"the {column} is {short_repr(value)}, neither text nor turns of a chat", column=column
        )
    return parse_messages(value, column=column)
