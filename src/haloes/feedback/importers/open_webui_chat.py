"""
A chat of Open WebUI: a tree of messages, in which the prompt of an answer is the way from the root to it.

Answers to one message are siblings. A message has its words as text, as blocks, or (0.12) as items of the Responses API
under `output`, which are what the model said; `content` is then what the page shows of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.tree import Node, Tree
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message


@dataclass(frozen=True, slots=True)
class Chat:
    """The messages of a chat, and its system prompt."""

    tree: Tree
    system: str | None = None

    @classmethod
    def of(cls, chat: object) -> "Chat":
        """Return the chat that an object with a history holds; its messages are an object by id, or an array."""
        given = at(chat, "history", "messages")
        named = as_map(given).items() or ((at(each, "id"), each) for each in as_list(given))
        nodes = {key: node for name, each in named if (key := as_id(name)) is not None and (node := as_map(each))}
        return cls(Tree(nodes, parent=lambda node: node.get("parentId")), as_text(at(chat, "params", "system")))

    def turns_before(self, answer: Node) -> tuple[Message, ...]:
        """Return the turns on the way from the root to an answer. Raises RefusalError for a gap, and for a circle."""
        way = self.tree.before(answer)
        for before in way:
            _check_context(before)
        turns = tuple(turn for before in way for turn in turns_of(before))
        if self.system is None or (turns and turns[0].role == "system"):
            return turns
        return (*read_messages(self.system, role="system"), *turns)

    def siblings(self, answer: Node) -> Iterator[Node]:
        """Yield the other answers to the message that an answer answers."""
        for before in self.tree.before(answer)[-1:]:
            yield from (
                each for each in self.tree.after(before) if each is not answer and each.get("role") == "assistant"
            )

    def asked_after(self, answer: Node) -> str | None:
        """Return what the user wrote next, after an answer; None where there is nothing, or more than text."""
        after = next((each for each in self.tree.after(answer) if each.get("role") == "user"), None)
        if after is None:
            return None
        try:
            return as_text("\n".join(turn.content for turn in turns_of(after)))
        except RefusalError:
            return None


def turns_of(message: Node) -> tuple[Message, ...]:
    """Return a message as turns: more than one where it called tools. Raises RefusalError for what is not text."""
    for file in as_list(message.get("files")):
        if str(at(file, "type") or "").startswith("image"):
            raise RefusalError("images", "a turn holds an image; only text can be trained on")
        raise RefusalError("retrieved context", "a turn holds a file, whose text is not in the export")
    items = message.get("output")
    if message.get("role") == "assistant" and isinstance(items, list) and items:
        return read_messages(items, role="assistant")
    return read_messages([{"role": message.get("role"), "content": message.get("content")}])


def check_answer(answer: Node) -> None:
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


def _check_context(message: Node) -> None:
    if message.get("contextSummary"):
        why = "the model saw a summary in place of the earlier turns, so the prompt is not what was answered"
        raise RefusalError("compacted context", why)
