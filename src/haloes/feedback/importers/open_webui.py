"""
Open WebUI: the feedback history (0.12 and older), and chats whose messages carry an annotation.

The history is a tree: a vote names a message, and the prompt is the way from there to the root. A vote's `snapshot`
holds the chat as it was when it was rated, at one of three places by version. Beside an answer stand its siblings, the
other answers to the same message: two with opposite verdicts, or the two of an arena, are a comparison.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message, Where

_HOW = "In Open WebUI: Admin › Evaluations › Feedback › Export › JSON"
_HISTORIES = (("chat", "chat", "history"), ("chat", "history"), ("history",))
"""Places of the history in a snapshot, the newest version's first."""
_MOST_TURNS = 10_000


def _recognise(export: Export) -> str | None:
    if export.with_columns("sibling_model_ids", "rating", "chat_id", "model_id"):
        raise export.unreadable(
            what="this is Open WebUI's feedback history as CSV, which has no texts", how=f"{_HOW} has them"
        )
    rows = [row for row in export.head() if {"data", "meta"} <= row.keys() and at(row, "meta", "message_id")]
    if not rows:
        return None
    newest = any(_HISTORIES[0] == _place_of(row) for row in rows)
    return f"Open WebUI feedback export ({'0.12' if newest else 'older'} layout)"


def _read(export: Export) -> Iterator[Imported]:
    return each_row(export.rows(), _vote)


def _place_of(row: RawRow) -> tuple[str, ...] | None:
    return next((keys for keys in _HISTORIES if isinstance(at(row, "snapshot", *keys), Mapping)), None)


def _vote(row: RawRow, where: Where) -> Iterator[Imported]:
    """Yield the rating of a row of the feedback history."""
    data, meta = as_map(row.get("data")), as_map(row.get("meta"))
    label = thumb(data.get("rating"), up=(1,), down=(-1,), none=(0,))
    place = _place_of(row)
    if place is None:
        raise RefusalError(
            "answer not in the export", "the vote has no snapshot of its chat, so the answer is not there"
        )
    chat = _Chat(_by_id(at(row, "snapshot", *place, "messages")))
    identity = as_id(meta.get("message_id"))
    answer = chat.message(identity)
    _check_answer(answer)
    yield Rated(
        where=where,
        messages=chat.turns_before(answer),
        completion=_turns_of(answer),
        label=label,
        answer=identity,
        user=as_id(row.get("user_id")),
        conversation=as_id(meta.get("chat_id")) or as_id(at(row, "snapshot", "chat", "id")),
        id=as_id(row.get("id")),
        model=as_text(first_of(data, "model_id")) or as_text(first_of(answer, "model", "selectedModelId")),
        time=first_of(row, "updated_at", "created_at"),
        comment=_comment(data),
    )


@dataclass(frozen=True, slots=True)
class _Chat:
    """The messages of a chat, by id."""

    messages: Mapping[str, Mapping[str, Any]]

    def message(self, identity: str | None) -> Mapping[str, Any]:
        """Return a message. Raises RefusalError where it is not there."""
        found = self.messages.get(identity or "")
        if found is None:
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
            if before is None:
                raise RefusalError("broken chat tree", f"the message {short_repr(parent)} before the answer is missing")
            if id(before) in seen or len(way) > _MOST_TURNS:
                raise RefusalError(
                    "broken chat tree", f"the messages before the answer go in a circle, at {short_repr(parent)}"
                )
            seen.add(id(before))
            way.append(before)
            parent = before.get("parentId")
        return tuple(turn for before in reversed(way) for turn in _turns_of(before))


def _by_id(messages: object) -> Mapping[str, Mapping[str, Any]]:
    """Return messages by their ids, of an object or an array of them."""
    named = (
        messages.items() if isinstance(messages, Mapping) else ((at(each, "id"), each) for each in as_list(messages))
    )
    return {key: each for name, each in named if isinstance(each, Mapping) and (key := as_id(name)) is not None}


def _check_answer(answer: Mapping[str, Any]) -> None:
    if answer.get("role") != "assistant":
        role = short_repr(answer.get("role"))
        raise RefusalError("last turn not assistant", f"the rated message has the role {role}, not assistant")
    if answer.get("done") is False or answer.get("error"):
        raise RefusalError("unfinished answer", "the answer was stopped, or failed")
    if "contextSummary" in answer:
        raise RefusalError(
            "compacted context", "the model saw a summary of the earlier turns, which is not in the chat"
        )


def _turns_of(message: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return a message as turns: more than one where it called tools."""
    if any(str(at(file, "type") or "").startswith("image") for file in as_list(message.get("files"))):
        raise RefusalError("images", "a turn holds an image; only text can be trained on")
    if isinstance(message.get("output"), list) and message["output"]:
        return read_messages(message["output"], role="assistant")
    return read_messages([{"role": message.get("role"), "content": message.get("content")}])


def _comment(data: Mapping[str, Any]) -> str | None:
    """Return the reason that was picked and the words that were written, of which each may be missing."""
    return ": ".join(filter(None, (as_text(data.get("reason")), as_text(data.get("comment"))))) or None


OPEN_WEBUI = Importer(
    name="open-webui",
    product="Open WebUI",
    files="one JSON file: the feedback history",
    how=_HOW,
    votes="1 up, -1 down; 0 (a draw) is left out",
    recognise=_recognise,
    read=_read,
    has_system=False,
)
