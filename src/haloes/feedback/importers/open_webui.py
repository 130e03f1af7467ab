"""
Open WebUI: the feedback history (0.12 and older), and chats whose messages carry an annotation.

A chat is a tree of messages (`open_webui_chat`). A vote of the history names a message of a chat, of which its
`snapshot` holds the state at that moment; the place differs by version. In an arena the vote compares the answer with
its siblings: where their texts are there, it is a pair, else a thumb. Answers to one message with opposite thumbs are
rows of their own, which haloes pairs as it does any.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.contract import Compared, Imported, Importer, LeftOut, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.open_webui_chat import Chat, check_answer, turns_of
from haloes.feedback.importers.rules import each_row, each_shown
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_HOW = "In Open WebUI: Admin › Evaluations › Feedback › Export › JSON"
_CHATS = (("chat", "chat"), ("chat",), ())
"""Places in a snapshot of the chat that has the history, the newest version's first."""
_CSV = ("chat_id", "model_id", "sibling_model_ids", "rating")


def _recognise(export: Export) -> str | None:
    if rows := [row for row in export.head() if _is_vote(row)]:
        places = {_place_of(row) for row in rows} - {None}
        return f"Open WebUI feedback export ({'older' if places and _CHATS[0] not in places else '0.12'} layout)"
    history = export.with_columns(*_CSV)
    if any(map(_is_chat, export.head())):
        return f"Open WebUI export of chats (votes in their annotations{'' if history is None else ' and in a CSV'})"
    if history is not None:
        what = "this is Open WebUI's feedback history as CSV, which has no texts"
        raise export.unreadable(what=what, how=f"{_HOW}; or put it and the export of all chats into one folder.")
    return None


def _is_vote(row: RawRow) -> bool:
    return at(row, "meta", "message_id") is not None and "rating" in as_map(row.get("data"))


def _is_chat(row: RawRow) -> bool:
    chat = as_map(row.get("chat"))
    return isinstance(at(chat, "history", "messages"), Mapping | list) and "title" in row


def _read(export: Export) -> Iterator[Imported]:
    history = export.with_columns(*_CSV)
    if history is None:
        yield from each_row(
            export.rows(), lambda row, where: _annotations(row, where) if _is_chat(row) else _vote(row, where)
        )
        return
    files = tuple(file for file in export.files if file not in history.files)
    found = set[int]()
    with Lookup(history.rows(), lambda row: [as_id(row.get("chat_id"))]) as by_chat:
        yield from each_row(
            Export(export.path, files).rows(),
            lambda row, where: _annotations(row, where, by_chat, found) if _is_chat(row) else _vote(row, where),
        )
    yield from each_row((row for number, row in enumerate(history.rows()) if number not in found), _without_answer)


def _place_of(row: RawRow) -> tuple[str, ...] | None:
    """Return the keys under which the snapshot holds the chat with its history; None where there is none."""
    return next((keys for keys in _CHATS if at(row, "snapshot", *keys, "history", "messages") is not None), None)


def _vote(row: RawRow, where: Where) -> Iterator[Imported]:
    """Yield the verdict of a row of the feedback history."""
    data, meta = as_map(row.get("data")), as_map(row.get("meta"))
    label = _label(data)
    place = _place_of(row)
    if place is None:
        raise RefusalError("answer not in the export", "the vote has no snapshot of its chat, so the answer is missing")
    chat = Chat.of(at(row, "snapshot", *place))
    identity = as_id(meta.get("message_id"))
    answer = chat.tree.node(identity)
    rated = _rated(chat, answer, label, where, verdict=data)
    rated = {
        **rated,
        "answer": identity,
        "user": as_id(row.get("user_id")),
        "conversation": as_id(meta.get("chat_id")) or as_id(at(row, "snapshot", "chat", "id")),
        "id": as_id(row.get("id")),
        "time": first_of(row, "updated_at", "created_at"),
    }
    others = [as_id(each) for each in as_list(data.get("sibling_model_ids"))]
    compared = _arena(chat, answer, others, rated) if meta.get("arena") is True and label is not None else ()
    yield from list(compared) or (Rated(**rated),)


def _rated(
    chat: Chat, answer: Mapping[str, Any], label: bool | None, where: Where, *, verdict: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is known of a rated answer from its chat, as fields of `Rated`."""
    check_answer(answer)
    reasons = (as_text(verdict.get("reason")), as_text(verdict.get("comment")))
    return {
        "where": where,
        "messages": chat.turns_before(answer),
        "completion": turns_of(answer),
        "label": label,
        "model": as_text(verdict.get("model_id")) or _model_of(answer),
        "comment": ": ".join(filter(None, reasons)) or None,
        "hindsight": chat.asked_after(answer),
    }


def _model_of(answer: Mapping[str, Any]) -> str | None:
    return as_text(first_of(answer, "selectedModelId", "model"))


def _arena(
    chat: Chat, answer: Mapping[str, Any], others: list[str | None], rated: Mapping[str, Any]
) -> Iterator[Compared]:
    """Yield an arena's verdict as pairs; nothing where the other answers are missing, or it is not clear which won."""
    siblings = [each for each in chat.siblings(answer) if _model_of(each) in {*others} - {None}]
    # The loser of several says nothing about which of them was the best.
    if not rated["label"] and (len(others) != 1 or len(siblings) != 1):
        return
    shared = {name: rated[name] for name in ("where", "messages", "user", "conversation", "time", "comment")}
    for sibling in siblings:
        try:
            check_answer(sibling)
            theirs = turns_of(sibling)
        except RefusalError:
            continue  # then the verdict is a thumb
        mine = rated["completion"], rated["model"]
        better, worse = (mine, (theirs, _model_of(sibling)))[:: 1 if rated["label"] else -1]
        name = as_id(sibling.get("id"))
        yield Compared(
            **shared,
            chosen=better[0],
            rejected=worse[0],
            chosen_model=better[1],
            rejected_model=worse[1],
            answer=f"{rated['answer']} {name}",
            id=rated["id"] if len(siblings) == 1 else f"{rated['id']}:{name}",
        )


def _annotations(
    row: RawRow, where: Where, history: Lookup | None = None, found: set[int] | None = None
) -> Iterator[Imported]:
    """
    Yield the verdict of each message of a chat that has one.

    Args:
        row: The chat.
        where: Its place.
        history: Rows of the history's CSV by their chats, where it is there: it has no texts, and knows who voted.
        found: Takes the numbers of the rows of the history that are a message's.
    """
    chat, name = Chat.of(as_map(row.get("chat"))), as_id(row.get("id"))
    rows = [] if history is None else history.numbered(name)
    annotated = [message for message in chat.tree.nodes.values() if at(message, "annotation", "rating") is not None]
    if not annotated:
        yield LeftOut("no label", where, "nobody rated an answer of this chat")
    for message in annotated:
        verdict, identity = as_map(message.get("annotation")), as_id(message.get("id"))
        number, place, said = _row_of(message, annotated, rows) or (-1, where, {})
        if found is not None:
            found.add(number)
        try:
            label = _label(verdict)
            if said and _label(said) is not label:
                yield LeftOut(
                    "not a verdict", place, "the CSV says another vote than the chat, so neither can be trusted"
                )
                continue
            yield Rated(
                **_rated(chat, message, label, where, verdict=verdict),
                answer=identity,
                user=as_id(first_of(said, "user_id")) or as_id(row.get("user_id")),
                conversation=name,
                id=as_id(said.get("id")) or as_id(message.get("feedbackId")) or identity,
                time=first_of(said, "updated_at", "created_at")
                or first_of(message, "timestamp")
                or row.get("updated_at"),
            )
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def _row_of(
    message: Mapping[str, Any], annotated: list[Mapping[str, Any]], rows: list[tuple[int, Where, dict[str, Any]]]
) -> tuple[int, Where, RawRow] | None:
    """Return the row of the history on a message: by its id, else the chat's only one on an answer of the model."""
    identity = as_id(message.get("feedbackId"))
    if by_id := [each for each in rows if identity is not None and as_id(each[2].get("id")) == identity]:
        return by_id[0]
    model = _model_of(message)
    same = [each for each in rows if as_text(each[2].get("model_id")) == model is not None]
    alone = len(same) == 1 and [_model_of(each) for each in annotated].count(model) == 1
    return same[0] if alone and identity is None else None


def _label(verdict: Mapping[str, Any]) -> bool | None:
    return thumb(verdict.get("rating"), up=(1,), down=(-1,), none=(0,))


def _without_answer(row: RawRow, where: Where) -> Iterator[Imported]:
    _label(row)
    chat = short_repr(as_id(row.get("chat_id")))
    yield LeftOut(
        "answer not in the export", where, f"no answer in the export is certain to be the rated one of chat {chat}"
    )


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the answers in chats that nobody rated. A history of votes holds only chats in which somebody voted."""
    return each_shown(export.rows(), lambda row, where: _not_annotated(row, where) if _is_chat(row) else iter(()))


def _not_annotated(row: RawRow, where: Where) -> Iterator[Unrated]:
    chat = Chat.of(as_map(row.get("chat")))
    for message in chat.tree.nodes.values():
        if message.get("role") != "assistant" or at(message, "annotation", "rating") is not None:
            continue
        with suppress(RefusalError):
            check_answer(message)
            yield Unrated(
                where=where,
                answer=as_id(message.get("id")),
                completion=turns_of(message),
                number=chat.tree.count_before(message, lambda each: each.get("role") == "user"),
                model=_model_of(message),
                user=as_id(row.get("user_id")),
                conversation=as_id(row.get("id")),
                time=first_of(message, "timestamp") or row.get("updated_at"),
            )


OPEN_WEBUI = Importer(
    name="open-webui",
    product="Open WebUI",
    files="one JSON file: the feedback history, or all chats (or a folder of these with the history's CSV)",
    how=f"{_HOW} (votes); Settings › Data Controls › Export Chats (chats whose messages are annotated)",
    votes="1 up, -1 down; 0 (a draw) is left out; in an arena the better of two answers",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    has_system=False,
)
