"""
Hugging Face chat-ui: conversations from its MongoDB (`mongoexport`), whose messages carry a `score` of -1, 0 or 1.

Newer conversations are trees: a message names all its `ancestors`. Older ones are lists in the order of the turns.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import REASONING, read_messages
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row, each_shown
from haloes.feedback.importers.tree import Node, Tree, by_id, check_length
from haloes.feedback.importers.values import as_id, as_list, as_map, as_number, as_text, at, first_of, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.roles import ROLES
from haloes.records import Message, Where

_NONE = (None, 0.0)
"""Scores of an answer on which nobody voted."""


def _recognise(export: Export) -> str | None:
    for row in export.head():
        if any("from" in as_map(each) and ("score" in as_map(each) or "ancestors" in each) for each in _messages(row)):
            return "Hugging Face chat-ui conversations"
    return None


def _messages(row: RawRow) -> list[Node]:
    return [each for each in as_list(row.get("messages")) if as_map(each)]


def _read(export: Export) -> Iterator[Imported]:
    return each_row(export.rows(), _votes)


def _votes(row: RawRow, where: Where) -> Iterator[Imported]:
    """Yield the votes of a conversation; its answers that nobody rated are no votes."""
    chat = _messages(row)
    tree = Tree(by_id(chat), parent=_parent)
    for place, answer in enumerate(chat):
        if answer.get("score") is None:
            continue
        try:
            label = thumb(answer["score"], up=(1,), down=(-1,), none=(0,))
            # Zero is what an answer has before anybody votes, and after a vote was taken back.
            if label is not None:
                is_tree = "ancestors" in answer
                before, after = (
                    (tree.before(answer), tree.after(answer)) if is_tree else (chat[:place], chat[place + 1 :])
                )
                yield _rated(row, where, answer, before=before, after=after, label=label)
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def _unrated(export: Export) -> Iterator[Unrated]:
    return each_shown(export.rows(), _not_voted)


def _not_voted(row: RawRow, where: Where) -> Iterator[Unrated]:
    """Yield the answers of a conversation on which nobody voted, or took the vote back."""
    chat = _messages(row)
    tree = Tree(by_id(chat), parent=_parent)
    asked = 0
    for answer in chat:
        asked += answer.get("from") == "user"
        if (
            answer.get("from") != "assistant"
            or answer.get("interrupted")
            or as_number(answer.get("score")) not in _NONE
        ):
            continue
        with suppress(RefusalError):
            in_tree = "ancestors" in answer
            yield Unrated(
                where=where,
                answer=as_id(answer.get("id")),
                completion=_turns(answer),
                number=tree.count_before(answer, lambda each: each.get("from") == "user") if in_tree else asked,
                **_answered(row, answer),
            )


def _answered(row: RawRow, answer: Node) -> dict[str, Any]:
    """Return what is known of an answer, rated or not, as fields."""
    return {
        "user": as_id(first_of(row, "userId", "sessionId")),
        "conversation": as_id(first_of(row, "_id", "id", "sessionId")),
        "model": as_text(at(answer, "routerMetadata", "model")) or as_text(row.get("model")),
        "time": first_of(answer, "updatedAt", "createdAt"),
    }


def _parent(message: Node) -> object:
    ancestors = as_list(message.get("ancestors"))
    return ancestors[-1] if ancestors else None


def _rated(row: RawRow, where: Where, answer: Node, *, before: list[Node], after: list[Node], label: bool) -> Rated:
    if answer.get("interrupted"):
        raise RefusalError("unfinished answer", "the answer was stopped")
    preprompt = as_text(row.get("preprompt"))
    check_length(before)
    turns = tuple(turn for message in before for turn in _turns(message))
    if preprompt is not None and not any(turn.role == "system" for turn in turns):
        turns = (Message("system", preprompt), *turns)
    return Rated(
        where=where,
        messages=turns,
        completion=_turns(answer),
        label=label,
        answer=as_id(answer.get("id")),
        id=as_id(answer.get("id")),
        **_answered(row, answer),
        hindsight=as_text(after[0].get("content")) if after and after[0].get("from") == "user" else None,
    )


def _turns(message: Node) -> tuple[Message, ...]:
    """Return a message as turns; the system's that is blank, which every tree begins with, as none."""
    role = message.get("from")
    if not isinstance(role, str) or role not in ROLES:
        raise RefusalError("unknown role", f"a message is from {short_repr(role)}, which is no role")
    if as_list(message.get("files")):
        raise RefusalError("images", "a turn has files; only text can be trained on")
    if role == "system" and not as_text(message.get("content")):
        return ()
    turn = {"role": role, "content": message.get("content")}
    if as_text(message.get("reasoning")) and role == "assistant":
        turn[REASONING] = message["reasoning"]
    return read_messages([turn])


CHAT_UI = Importer(
    name="chat-ui",
    product="Hugging Face chat-ui",
    files="one file of conversations",
    how="mongoexport --collection=conversations --jsonArray --out=conversations.json",
    votes="score 1 up, -1 down; 0 is no vote",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
)
