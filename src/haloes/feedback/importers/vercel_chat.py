"""
Vercel's AI chatbot: its tables of messages and votes, exported from Postgres (JSON, JSONL or CSV), in one folder.

A vote names a chat and a message; the turns before it are the chat's messages that were created earlier.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from haloes.errors import DataError
from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.tree import check_length
from haloes.feedback.importers.values import as_id, as_list, first_of, parsed, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.times import seconds_of
from haloes.records import Message, Where

_HOW = 'in Postgres: \\copy "Message_v2" to messages.csv csv header, and "Vote_v2", "Chat" likewise, into one folder'


def _recognise(export: Export) -> str | None:
    if export.with_columns("chatId", "messageId", "isUpvoted") is None:
        return None
    if export.with_columns("chatId", "role") is None:
        raise export.unreadable(what="these are votes of Vercel's AI chatbot, without the messages", how=_HOW)
    return "Vercel AI chatbot votes and messages"


def _read(export: Export) -> Iterator[Imported]:
    votes, messages = (
        _part(export, "chatId", "messageId", "isUpvoted"),
        _part(export, "chatId", "role"),
    )
    wanted = {as_id(row.get("chatId")) for _, row in votes.rows() if isinstance(row, Mapping)}
    with (
        Lookup(messages.rows(), lambda row: [as_id(row.get("chatId"))], wanted=wanted - {None}) as chats,
        Lookup(_owners(export).rows(), lambda row: [as_id(row.get("id"))], wanted=wanted - {None}) as owners,
    ):
        yield from each_row(votes.rows(), lambda row, where: _vote(row, where, chats, owners))
        yield from chats.faults


def _part(export: Export, *columns: str) -> Export:
    found = export.with_columns(*columns)
    if found is None:
        raise DataError(f"{export.path}: the files changed while they were read")
    return found


def _owners(export: Export) -> Export:
    """Return the files that say whose chat is whose, if the export has them."""
    return export.with_columns("userId", "title") or Export(export.path, ())


def _vote(row: RawRow, where: Where, chats: Lookup, owners: Lookup) -> Iterator[Imported]:
    chat, identity = as_id(row.get("chatId")), as_id(row.get("messageId"))
    label = thumb(row.get("isUpvoted"), up=(True,), down=(False,))
    # Rows of a table have no order of their own; sorted() keeps those of one moment as they stand.
    messages = sorted((each for _, each in chats.rows(chat)), key=lambda each: seconds_of(each.get("createdAt")) or 0.0)
    place = next((place for place, each in enumerate(messages) if as_id(each.get("id")) == identity), None)
    if place is None:
        raise RefusalError("answer not in the export", f"the message {short_repr(identity)} is not among the messages")
    check_length(messages[:place])
    following = messages[place + 1 : place + 2]
    yield Rated(
        where=where,
        messages=tuple(turn for message in messages[:place] for turn in _turns(message)),
        completion=_turns(messages[place]),
        label=label,
        answer=identity,
        id=identity,
        user=_owner(chat, owners),
        conversation=chat,
        time=messages[place].get("createdAt"),
        hindsight=next((turn.content for each in following for turn in _turns(each) if turn.role == "user"), None),
    )


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the assistant's messages without a vote, chat by chat in the order of time."""
    messages = _part(export, "chatId", "role")
    votes = _part(export, "chatId", "messageId", "isUpvoted").rows()
    voted = {as_id(row.get("messageId")) for _, row in votes if isinstance(row, Mapping)}
    done = set[str | None]({None})
    with (
        Lookup(messages.rows(), lambda row: [as_id(row.get("chatId"))]) as chats,
        Lookup(_owners(export).rows(), lambda row: [as_id(row.get("id"))]) as owners,
    ):
        for _, message in messages.rows():
            chat = None if isinstance(message, RefusalError) else as_id(message.get("chatId"))
            if chat not in done:
                done.add(chat)
                user = _owner(chat, owners)
                yield from _not_voted(chats.rows(chat), voted, user)


def _not_voted(
    chat: Sequence[tuple[Where, RawRow]], voted: Collection[str | None], user: str | None
) -> Iterator[Unrated]:
    asked = 0
    for where, message in sorted(chat, key=lambda placed: seconds_of(placed[1].get("createdAt")) or 0.0):
        asked += message.get("role") == "user"
        if message.get("role") != "assistant" or not asked or as_id(message.get("id")) in voted:
            continue
        with suppress(RefusalError):
            yield Unrated(
                where=where,
                answer=as_id(message.get("id")),
                completion=_turns(message),
                number=asked,
                user=user,
                conversation=as_id(message.get("chatId")),
                time=message.get("createdAt"),
            )


def _owner(chat: str | None, owners: Lookup) -> str | None:
    return next((as_id(owner.get("userId")) for _, owner in owners.rows(chat)), None)


def _turns(message: RawRow) -> tuple[Message, ...]:
    if as_list(message.get("attachments")):
        raise RefusalError("images", "a turn has attachments; only text can be trained on")
    content = parsed(first_of(message, "parts", "content"))
    return read_messages([{"role": message.get("role"), "content": content}])


VERCEL_CHAT = Importer(
    name="vercel-chat",
    product="Vercel AI chatbot",
    files="a folder with the tables Vote_v2 and Message_v2 (and Chat, for who asked)",
    how=_HOW,
    votes="isUpvoted true up, false down",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    has_system=False,
)
