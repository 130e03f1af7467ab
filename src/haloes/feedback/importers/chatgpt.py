"""
ChatGPT: a user's own data export, a folder with `message_feedback.json` and `conversations.json`.

A conversation is a tree (`mapping`), and its messages are turns with parts. There is no official description of these
files; names that were seen to vary are read under each of them.
"""

from collections.abc import Iterator, Mapping

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.tree import Node, Tree
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, has_ended, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message, Where

_HOW = "in ChatGPT: Settings › Data controls › Export data; give the unpacked folder"
_HIDDEN = {"model_editable_context", "user_editable_context"}
"""Contents of turns that ChatGPT adds itself and nobody reads."""
_WORDS = {"text", "code", "execution_output", "multimodal_text", "tether_quote", "tether_browsing_display"}
_THOUGHTS = {"thoughts", "reasoning_recap"}


def _recognise(export: Export) -> str | None:
    chats, votes = export.with_columns("mapping"), export.with_columns("conversation_id", "rating", "create_time")
    if votes is None:
        if chats is not None and chats.with_columns("current_node"):
            raise export.unreadable(
                what="these are conversations of ChatGPT, whose thumbs lie in message_feedback.json beside", how=_HOW
            )
        return None
    if chats is None:
        raise export.unreadable(
            what="these are thumbs of ChatGPT, whose conversations lie in conversations.json beside", how=_HOW
        )
    return "ChatGPT data export"


def _read(export: Export) -> Iterator[Imported]:
    votes = export.with_columns("conversation_id", "rating") or Export(export.path, ())
    chats = export.with_columns("mapping") or Export(export.path, ())
    wanted = {
        as_id(row.get(name)) for _, row in votes.rows() if isinstance(row, Mapping) for name in ("message_id", "id")
    }
    with Lookup(chats.rows(), _nodes, wanted=wanted - {None}) as found:
        yield from each_row(votes.rows(), lambda row, where: _vote(row, where, found))
        yield from found.faults


def _nodes(row: RawRow) -> list[str | None]:
    return [as_id(name) for name in as_map(row.get("mapping"))]


def _vote(row: RawRow, where: Where, chats: Lookup) -> Iterator[Imported]:
    label = thumb(row.get("rating"), up=("thumbsUp", "thumbs_up"), down=("thumbsDown", "thumbs_down"))
    names = [as_id(row.get("message_id")), as_id(row.get("id"))]
    found = [(name, chat) for name in names for _, chat in chats.rows(name)[:1] if name in as_map(chat.get("mapping"))]
    if not found:
        raise RefusalError(
            "answer not in the export", f"the message {short_repr(names[0])} is in none of the conversations"
        )
    name, chat = found[0]
    tree = Tree(
        {key: node for key, node in as_map(chat.get("mapping")).items() if isinstance(node, Mapping)},
        parent=lambda node: node.get("parent"),
    )
    answer = tree.node(name)
    _check_answer(answer)
    yield Rated(
        where=where,
        messages=tuple(turn for node in tree.before(answer) for turn in _turns(node)),
        completion=_turns(answer),
        label=label,
        answer=name,
        id=as_id(row.get("id")),
        conversation=as_id(row.get("conversation_id")) or as_id(first_of(chat, "conversation_id", "id")),
        model=as_text(at(answer, "message", "metadata", "model_slug")),
        time=row.get("create_time"),
        comment=as_text(row.get("text")) or as_text(row.get("content")),
        hindsight=next(
            (turn.content for node in tree.after(answer)[:1] for turn in _turns(node) if turn.role == "user"), None
        ),
        finished=has_ended(at(answer, "message", "metadata", "finish_details", "type")),
    )


def _check_answer(node: Node) -> None:
    role = at(node, "message", "author", "role")
    if role != "assistant":
        raise RefusalError("last turn not assistant", f"the rated message has the role {short_repr(role)}")
    if at(node, "message", "status") == "in_progress" or (
        at(node, "message", "metadata", "finish_details", "type") == "interrupted"
    ):
        raise RefusalError("unfinished answer", "the answer was stopped")


def _turns(node: Node) -> tuple[Message, ...]:
    """Return the turns of a node: none for the root, hidden turns, and the model's thoughts."""
    message = as_map(node.get("message"))
    content = as_map(message.get("content"))
    kind, role = str(content.get("content_type")), at(message, "author", "role")
    hidden = at(message, "metadata", "is_visually_hidden_from_conversation") is True
    if not message or kind in _HIDDEN | _THOUGHTS or (hidden and role != "user") or _is_blank_system(role, content):
        return ()
    if kind not in _WORDS:
        raise RefusalError("content part", f"a turn holds content of type {short_repr(kind)}, which is not text")
    parts = as_list(content.get("parts")) or [content.get("text")]
    if any(isinstance(part, Mapping) for part in parts):
        raise RefusalError("images", "a turn holds more than text; only text can be trained on")
    return read_messages([{"role": role, "content": parts}])


def _is_blank_system(role: object, content: Mapping[str, object]) -> bool:
    return role == "system" and not any(as_text(part) for part in as_list(content.get("parts")))


CHATGPT = Importer(
    name="chatgpt",
    product="ChatGPT",
    files="the folder of a data export, with message_feedback.json and conversations.json",
    how=_HOW,
    votes="thumbsUp up, thumbsDown down",
    recognise=_recognise,
    read=_read,
    has_system=False,
)
