"""A traced call, with its inputs and outputs in whatever shape the application has, as a prompt and an answer."""

from collections.abc import Mapping
from typing import Any

from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.values import as_list, as_text, at, first_of, has_ended, parsed
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message

_IN = ("messages", "input", "inputs", "question", "query", "prompt", "message", "text", "user_input", "request")
_OUT = ("messages", "output", "outputs", "answer", "response", "result", "completion", "generation", "content", "text")
_SHAPED = ("role", "content", "parts", "messages", "choices", "generations", "kwargs", "type")
"""Keys of a mapping that `content` reads as turns."""


def read_call(inputs: object, outputs: object) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """
    Return the turns before the answer, and the answer.

    An application's own mapping ({"question": ..., "user_id": ...}) counts by the first plain name in it, else by its
    only text. Outputs that repeat the conversation (a graph's state does) are cut behind the user's last turn.

    Raises:
        RefusalError: There is no answer, or one of the two holds no turns.
    """
    if outputs in (None, "", {}, []):
        raise RefusalError("unfinished answer", "the call has no output")
    before = read_messages(_turns_in(inputs, names=_IN), role="user")
    answer = read_messages(_turns_in(outputs, names=_OUT), role="assistant")
    asked = [place for place, turn in enumerate(answer) if turn.role in ("user", "system")]
    if asked:
        return answer[: asked[-1] + 1], answer[asked[-1] + 1 :]
    return before, answer


def has_reply_ended(outputs: object) -> bool | None:
    """Return whether the reply of a model's server ended by itself, by its finish reason; None where it has none."""
    reply = parsed(outputs)
    choice = next(iter(as_list(at(reply, "choices"))), None)
    reasons = [first_of(each, "finish_reason", "finishReason", "stop_reason") for each in (choice, reply)]
    return next((ended for reason in reasons if (ended := has_ended(reason)) is not None), None)


def _turns_in(value: object, *, names: tuple[str, ...]) -> object:
    """Return the part of an application's own mapping that holds the turns; anything else unchanged."""
    value = parsed(value)
    for _ in range(4):  # {"input": {"messages": [...]}} and the like
        if not isinstance(value, Mapping) or any(name in value for name in _SHAPED):
            return value
        value = parsed(_only_text(value, names=names))
    return value


def _only_text(value: Mapping[str, Any], *, names: tuple[str, ...]) -> object:
    for name in names:
        if value.get(name) not in (None, "", {}, []):
            return value[name]
    texts = [each for each in value.values() if as_text(each) is not None]
    if len(texts) != 1:
        raise RefusalError(
            "wrong type", f"which of {short_repr(sorted(map(str, value)))} holds the words of the call is not known"
        )
    return texts[0]
