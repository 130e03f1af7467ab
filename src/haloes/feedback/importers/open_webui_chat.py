"""
A chat of Open WebUI: a tree of messages, in which the prompt of an answer is the way from the root to it.

Answers to one message are siblings. A message has its words as text, as blocks, or (0.12) as items of the Responses API
under `output`, which are what the model said; `content` is then what the page shows of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message

_MOST_TURNS = 10_000


@dataclass(frozen=True, slots=True)
class Chat:
    """The messages of a chat, by id, and its system prompt."""

    messages: Mapping[str, Mapping[str, Any]]
    system: str | None = None

    @classmethod
    def of(cls, chat: object) -> "Chat":
        """Return the chat that an object with a history holds; its messages are an object by id, or an array."""
        given = at(chat, "history", "messages")
        named = given.items() if isinstance(given, Mapping) else ((at(each, "id"), each) for each in as_list(given))
        messages = {key: as_map(each) for name, each in named if (key := as_id(name)) is not None}
        return cls(messages, as_text(at(chat, "params", "system")))

    def message(self, identity: str | None) -> Mapping[str, Any]:
        """Return a message. Raises RefusalError where it is not there."""
        found = self.messages.get(identity or "")
        if not found:
            message = f"the rated message {short_repr(identity)} is not in the snapshot of its chat"
            raise RefusalError("answer not in the export", message)
        return found

    def turns_before(self, answer: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the turns on the way from the root to an answer. Raises RefusalError for a gap, and for a circle."""
        way: list[Mapping[str, Any]] = []
        seen = {id(answer)}
        parent = answer.get("parentId")
        while parent is not None:
            before = self.messages.get(as_id(parent) or "")
            if not before:
                raise RefusalError("broken chat tree", f"the message {short_repr(parent)} before the answer is missing")
            if id(before) in seen or len(way) > _MOST_TURNS:
                message = f"the messages before the answer go in a circle at {short_repr(parent)}"
                raise RefusalError("broken chat tree", message)
            _check_context(before)
            seen.add(id(before))
            way.append(before)
            parent = before.get("parentId")
        turns = tuple(turn for before in reversed(way) for turn in turns_of(before))
        if self.system is None or (turns and turns[0].role == "system"):
            return turns
        return (*read_messages(self.system, role="system"), *turns)

    def siblings(self, answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the other answers to the message that an answer answers."""
        parent = as_id(answer.get("parentId"))
        for each in self.messages.values():
            is_answer = each is not answer and each.get("role") == "assistant"
            if is_answer and parent is not None and as_id(each.get("parentId")) == parent:
                yield each

    def asked_after(self, answer: Mapping[str, Any]) -> str | None:
        """Return what the user wrote next, after an answer; None where there is nothing, or more than text."""
        for child in as_list(answer.get("childrenIds")):
            after = self.messages.get(as_id(child) or "", {})
            if after.get("role") == "user" and after.get("parentId") == answer.get("id"):
                try:
                    return as_text("\n".join(turn.content for turn in turns_of(after)))
                except RefusalError:
                    return None
        return None


def turns_of(message: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return a message as turns: more than one where it called tools. Raises RefusalError for what is not text."""
    for file in as_list(message.get("files")):
        if str(at(file, "type") or "").startswith("image"):
            raise RefusalError("images", "a turn holds an image; only text can be trained on")
        raise RefusalError("retrieved context", "a turn holds a file, whose text is not in the export")
    items = message.get("output")
    if message.get("role") == "assistant" and isinstance(items, list) and items:
        return read_messages(items, role="assistant")
    return read_messages([{"role": message.get("role"), "content": message.get("content")}])


def check_answer(answer: Mapping[str, Any]) -> None:
    """Raise RefusalError for a message that is no answer, no whole one, or one to more than the chat holds."""
    if answer.get("role") != "assistant":
        role = short_repr(answer.get("role"))
        raise RefusalError("last turn not assistant", f"the rated message has the role {role}, not assistant")
    if answer.get("done") is False or answer.get("error"):
        raise RefusalError("unfinished answer", "the answer was stopped, or failed")
    _check_context(answer)
    if as_list(answer.get("sources")):
        message = "the model answered from documents or pages, whose text is not in the export as the model read it"
        raise RefusalError("retrieved context", message)


def _check_context(message: Mapping[str, Any]) -> None:
    if message.get("contextSummary"):
        why = "the model saw a summary in place of the earlier turns, so the prompt is not what was answered"
        raise RefusalError("compacted context", why)
