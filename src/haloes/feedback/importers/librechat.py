"""
LibreChat: messages from its MongoDB (`mongoexport`), or a conversation exported as JSON.

A message names its parent, and an answer may carry `feedback` with a thumb, a tag and a text. Words stand in `text`,
or in `content` as parts (text, think, tool_call).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, Rated, Unrated
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row, each_shown
from haloes.feedback.importers.tree import Node, Trees
from haloes.feedback.importers.values import (
    as_id,
    as_list,
    as_map,
    as_text,
    at,
    first_of,
    has_ended,
    is_true,
    parsed,
    thumb,
)
from haloes.feedback.keys import number_of
from haloes.feedback.refusals import RefusalError
from haloes.records import Message, Where

_NO_PARENT = "00000000-0000-0000-0000-000000000000"
_SIGNS = {"messageId", "parentMessageId", "isCreatedByUser"}


def _recognise(export: Export) -> str | None:
    if export.with_columns(*_SIGNS):
        return "LibreChat messages"
    if any(as_map(each).keys() >= _SIGNS for row in export.head() for each in as_list(row.get("messages"))):
        return "LibreChat conversations"
    return None


def _read(export: Export) -> Iterator[Imported]:
    rated = {_conversation(row) for _, row in _messages(export.rows()) if isinstance(row, Mapping) and _vote_of(row)}
    with Lookup(_messages(export.rows()), lambda row: [_conversation(row)], wanted=rated - {None}) as chats:
        trees = Trees(chats, parent=_parent, key="messageId")
        yield from each_row(_messages(export.rows()), lambda row, where: _votes(row, where, trees))


def _messages(rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Yield messages one by one, also those that stand in a conversation, or as `children` of another message."""
    for where, row in rows:
        chat = None if not isinstance(row, Mapping) else parsed(row.get("messages"))
        if not isinstance(row, Mapping) or not isinstance(chat, list):
            yield where, row
            continue
        shared = {"conversationId": row.get("conversationId"), "user": row.get("user")}
        waiting: list[Any] = chat[::-1]
        while waiting:
            message = waiting.pop()
            if not isinstance(message, Mapping):
                yield where, RefusalError("wrong type", "a message of the conversation is no JSON object")
                continue
            yield where, {**shared, **{name: value for name, value in message.items() if name != "children"}}
            waiting += as_list(message.get("children"))[::-1]


def _conversation(row: RawRow) -> str | None:
    return as_id(row.get("conversationId"))


def _vote_of(row: RawRow) -> Mapping[str, Any]:
    """Return the feedback of a message, which some versions keep in its metadata; empty where it has none."""
    metadata = as_map(row.get("metadata"))
    return as_map(row.get("feedback")) or as_map(metadata.get("feedback")) or (metadata if "rating" in metadata else {})


def _votes(row: RawRow, where: Where, trees: Trees) -> Iterator[Imported]:
    """Yield the vote on a message, if it has one."""
    vote = _vote_of(row)
    if not vote:
        return
    label = thumb(vote.get("rating"), up=("thumbsUp",), down=("thumbsDown",))
    if is_true(row.get("unfinished")) or is_true(row.get("error")):
        yield LeftOut("unfinished answer", where, "the answer was stopped, or failed")
        return
    tree = trees.of(_conversation(row))
    answer = tree.node(as_id(row.get("messageId")))
    key = first_of(vote.get("tag"), "key") if isinstance(vote.get("tag"), Mapping) else vote.get("tag")
    yield Rated(
        where=where,
        messages=tuple(turn for message in tree.before(answer) for turn in _turns(message)),
        completion=_turns(row),
        label=label,
        answer=as_id(row.get("messageId")),
        id=as_id(row.get("messageId")),
        user=as_id(row.get("user")),
        conversation=_conversation(row),
        model=as_text(row.get("model")),
        time=first_of(row, "updatedAt", "createdAt"),
        hindsight=next(
            (as_text(each.get("text")) for each in tree.after(answer) if is_true(each.get("isCreatedByUser"))), None
        ),
        comment=": ".join(filter(None, (as_text(key), as_text(vote.get("text"))))) or None,
        # "length" is the token limit: the answer was cut, and its end of turn is not trained.
        finished=has_ended(row.get("finish_reason")),
    )


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the answers without feedback; a number stands with each message, 100 bytes, and no text."""
    asked: dict[int, int] = {}
    return each_shown(_messages(export.rows()), lambda row, where: _not_rated(row, where, asked))


def _not_rated(row: RawRow, where: Where, asked: dict[int, int]) -> Iterator[Unrated]:
    """Yield a message if it is an answer without feedback, and note how many questions were asked up to it."""
    parent, is_user = as_id(_parent(row)), is_true(row.get("isCreatedByUser"))
    # What names a message that comes later, or that is missing, has no known place.
    before = 0 if parent is None else asked.get(number_of(f"{_conversation(row)} {parent}"))
    if before is not None:
        asked[number_of(f"{_conversation(row)} {as_id(row.get('messageId'))}")] = before + is_user
    if is_user or _vote_of(row) or is_true(row.get("unfinished")) or is_true(row.get("error")):
        return
    yield Unrated(
        where=where,
        answer=as_id(row.get("messageId")),
        completion=_turns(row),
        number=before,
        model=as_text(row.get("model")),
        user=as_id(row.get("user")),
        conversation=_conversation(row),
        time=first_of(row, "updatedAt", "createdAt"),
    )


def _parent(message: Node) -> object:
    parent = message.get("parentMessageId")
    return None if parent in (_NO_PARENT, "") else parent


def _turns(message: Node) -> tuple[Message, ...]:
    role = "user" if is_true(message.get("isCreatedByUser")) else "assistant"
    if as_list(message.get("files")) or as_list(message.get("attachments")):
        raise RefusalError("images", "a turn has files; only text can be trained on")
    parts = [_part(part) for part in as_list(message.get("content"))]
    return read_messages([{"role": role, "content": parts or message.get("text")}])


def _part(part: object) -> object:
    """Return a part as other tools write it: LibreChat has a tool's call and its result inside `tool_call`."""
    call = at(part, "tool_call")
    if not isinstance(call, Mapping):
        return part
    return {
        "type": "dynamic-tool",
        "toolCallId": call.get("id"),
        "toolName": call.get("name"),
        "args": call.get("args"),
        "output": call.get("output"),
    }


LIBRECHAT = Importer(
    name="librechat",
    product="LibreChat",
    files="one file of messages, or a conversation",
    how="mongoexport --collection=messages --jsonArray --out=messages.json",
    votes="thumbsUp up, thumbsDown down",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    has_system=False,
)
