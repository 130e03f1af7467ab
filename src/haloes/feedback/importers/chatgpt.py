"""
ChatGPT: a user's own data export, a folder with `message_feedback.json` and `conversations.json`.

A conversation is a tree (`mapping`), and its messages are turns with parts. There is no official description of these
files; names that were seen to vary are read under each of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row, each_shown
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
    """Yield the votes conversation by conversation, as each is large and parsed once; then those without an answer."""
    votes, chats = _parts(export)
    found = set[int]()
    with Lookup(votes.rows(), _rated_names) as by_name:
        for where, chat in chats.rows():
            if isinstance(chat, RefusalError):
                yield LeftOut(chat.reason, where, chat.message)
                continue
            tree = _tree(chat)
            for name, node in tree.nodes.items():
                rows = [(number, place, vote) for number, place, vote in by_name.numbered(name) if number not in found]
                found.update(number for number, _, _ in rows)
                read = partial(_vote, answer=node, name=name, chat=chat, tree=tree)
                yield from each_row([(place, vote) for _, place, vote in rows], read)
    yield from each_row((row for number, row in enumerate(votes.rows()) if number not in found), _without_answer)


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the answers without a vote."""
    votes, chats = _parts(export)
    with Lookup(votes.rows(), _rated_names) as by_name:
        yield from each_shown(chats.rows(), lambda chat, where: _not_voted(chat, where, by_name))


def _parts(export: Export) -> tuple[Export, Export]:
    """Return the files of the votes and those of the conversations."""
    nothing = Export(export.path, ())
    return export.with_columns("conversation_id", "rating") or nothing, export.with_columns("mapping") or nothing


def _rated_names(vote: RawRow) -> list[str | None]:
    return [as_id(vote.get("message_id")), as_id(vote.get("id"))]


def _tree(chat: RawRow) -> Tree:
    nodes = {key: node for key, node in as_map(chat.get("mapping")).items() if isinstance(node, Mapping)}
    return Tree(nodes, parent=lambda node: node.get("parent"))


def _vote(row: RawRow, where: Where, *, answer: Node, name: str, chat: RawRow, tree: Tree) -> Iterator[Imported]:
    label = _label(row)
    _check_answer(answer)
    yield Rated(
        where=where,
        messages=tuple(turn for node in tree.before(answer) for turn in _turns(node)),
        completion=_turns(answer),
        label=label,
        answer=name,
        id=as_id(row.get("id")),
        conversation=as_id(row.get("conversation_id")) or _conversation(chat),
        model=_model(answer),
        time=row.get("create_time"),
        answered_at=at(answer, "message", "create_time"),
        comment=as_text(row.get("text")) or as_text(row.get("content")),
        hindsight=next(
            (turn.content for node in tree.after(answer)[:1] for turn in _turns(node) if turn.role == "user"), None
        ),
        finished=has_ended(at(answer, "message", "metadata", "finish_details", "type")),
    )


def _without_answer(row: RawRow, where: Where) -> Iterator[Imported]:
    _label(row)
    message = f"the message {short_repr(_rated_names(row)[0])} is in none of the conversations"
    yield LeftOut("answer not in the export", where, message)


def _not_voted(chat: RawRow, where: Where, by_name: Lookup) -> Iterator[Unrated]:
    tree = _tree(chat)
    for name, node in tree.nodes.items():
        # What goes to a tool, or before the end of a turn, is no answer that a person could rate.
        message = as_map(node.get("message"))
        is_answer = message.get("recipient") in (None, "all") and message.get("end_turn") is not False
        if not is_answer or at(message, "author", "role") != "assistant" or by_name.rows(name):
            continue
        with suppress(RefusalError):
            _check_answer(node)
            if turns := _turns(node):
                yield Unrated(
                    where=where,
                    answer=name,
                    completion=turns,
                    number=tree.count_before(node, lambda each: at(each, "message", "author", "role") == "user"),
                    model=_model(node),
                    conversation=_conversation(chat),
                    time=message.get("create_time"),
                )


def _label(row: RawRow) -> bool | None:
    return thumb(row.get("rating"), up=("thumbsUp", "thumbs_up"), down=("thumbsDown", "thumbs_down"))


def _conversation(chat: RawRow) -> str | None:
    return as_id(first_of(chat, "conversation_id", "id"))


def _model(node: Node) -> str | None:
    return as_text(at(node, "message", "metadata", "model_slug"))


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
    unrated=_unrated,
    has_system=False,
)
