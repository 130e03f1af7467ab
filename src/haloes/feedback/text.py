"""Prompts and completions, as text or as the turns of a chat: what either must be to be trained on."""

import math
from typing import Any

from haloes.feedback.messages import check_no_reasoning, clean_text, parse_messages
from haloes.feedback.refusals import Reason, Refused, shown
from haloes.records import Message, Text, plain_text


def parse_prompt(value: object, *, system: object = None, column: str = "prompt") -> Text:
    """
    A prompt: a text that is not blank, or turns with at least one of the user and none of the assistant at the end.

    Args:
        value: What stands in the row: a text, a turn or a list of turns.
        system: What stands in the row's `system` column, if it has one; it becomes the first turn.
        column: What the column is called in messages.

    Raises:
        Refused: It is none of these.
    """
    prompt = _parse(value, column=column, missing="empty prompt")
    return check_prompt(with_system(prompt, system), column=column)


def parse_completion(value: object, *, column: str = "completion") -> Text:
    """
    A completion: a text that is not blank, or turns that begin and end with the assistant's.

    Raises:
        Refused: It is neither.
    """
    if not isinstance(value, str):
        check_no_reasoning(value, column=column)
    return check_completion(_parse(value, column=column, missing="no completion"), column=column)


def check_prompt(prompt: Text, *, column: str = "prompt") -> Text:
    """
    The same prompt, if it is one (see `parse_prompt`).

    Raises:
        Refused: It is not.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise Refused("empty prompt", f"the {column} is blank", column=column)
        return prompt
    if not any(message.content.strip() or message.tool_calls for message in prompt if message.role != "system"):
        raise Refused("empty prompt", f"the {column} has no words beside a system message", column=column)
    if not any(message.role == "user" for message in prompt):
        raise Refused("no user turn", f"the {column} has no turn of the user", column=column)
    if prompt[-1].role == "assistant":
        raise Refused(
            "prompt ends with assistant turn",
            f"the {column} ends with an assistant turn, so that the completion answers nobody",
            column=column,
        )
    return prompt


def check_completion(completion: Text, *, column: str = "completion") -> Text:
    """
    The same completion, if it is one (see `parse_completion`).

    Raises:
        Refused: It is not.
    """
    if isinstance(completion, str):
        if not completion.strip():
            raise Refused("empty completion", f"the {column} is blank", column=column)
        return completion
    if not completion:
        raise Refused("empty completion", f"the {column} has no turn", column=column)
    for position, message in (("last", completion[-1]), ("first", completion[0])):
        if message.role != "assistant":
            raise Refused(
                "first turn not assistant" if position == "first" else "last turn not assistant",
                f"the {position} turn of the {column} is a {message.role} turn; it must be the assistant's",
                column=column,
            )
    if not completion[-1].content.strip() and not completion[-1].tool_calls:
        raise Refused("empty completion", f"the last turn of the {column} is blank", column=column)
    return completion


def with_system(prompt: Text, system: object) -> Text:
    """
    The prompt after the system message of a row's own column; a blank one changes nothing.

    Raises:
        Refused: It is not text, or the prompt has a different system message of its own.
    """
    if system is None or system == "":
        return prompt
    if not isinstance(system, str):
        raise Refused("wrong type", f"the system message is {shown(system)}, not text", column="system")
    if not clean_text(system, place="the system message", column="system").strip():
        return prompt
    if isinstance(prompt, str):
        return (Message("system", system), Message("user", prompt))
    if not prompt or prompt[0].role != "system":
        return (Message("system", system), *prompt)
    if prompt[0].content != system:
        raise Refused(
            "two system messages",
            "the system column and the first turn hold different system messages; drop one (--columns system=)",
            column="system",
        )
    return prompt


def same_answer(one: Text, other: Text) -> bool:
    """Whether two completions are the same words and calls; blanks around a text make no difference."""
    return one == other or _bare(one) == _bare(other)


def split_last_turn(value: object, *, column: str) -> tuple[list[Any], list[Any]]:
    """
    The turns before the last one, and the last one.

    Raises:
        Refused: There is no turn.
    """
    if not isinstance(value, list | tuple):
        raise Refused("wrong type", f"{column} is {shown(value)}, not the turns of a chat", column=column)
    if not value:
        raise Refused("no completion", f"{column} has no turn", column=column)
    return list(value[:-1]), list(value[-1:])


def _bare(text: Text) -> object:
    if isinstance(text, str):
        return text.strip()
    if len(text) == 1 and not text[0].tool_calls:
        return plain_text(text).strip()
    return text


def _parse(value: object, *, column: str, missing: Reason) -> Text:
    if isinstance(value, str):
        return clean_text(value, place=f"the {column}", column=column)
    if value is None:
        raise Refused(missing, f"the {column} is null", column=column)
    if isinstance(value, float) and math.isnan(value):
        raise Refused("NaN", f"the {column} is NaN, not text", column=column)
    if not isinstance(value, list | tuple | dict):
        raise Refused("wrong type", f"the {column} is {shown(value)}, neither text nor turns of a chat", column=column)
    return parse_messages(value, column=column)
