"""haloes' own store of collected answers: thumbs, corrections, and blind comparisons."""

from collections.abc import Iterator, Mapping
from typing import Any

from haloes.collected import unrated
from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Compared, Imported, Importer, LeftOut, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row, each_shown
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, has_ended, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message, Where

_COLUMNS = ("vote", "rating", "verdict", "answer", "comparison", "left", "right")


def _recognise(export: Export) -> str | None:
    if export.files[0].kind == "SQLite":
        return "store of haloes serve"
    return "store of haloes serve, its rows as text" if export.with_columns(*_COLUMNS) else None


def _read(export: Export) -> Iterator[Imported]:
    return each_row(export.rows(), _verdict)


def _verdict(row: RawRow, where: Where) -> Iterator[Imported]:
    shared = {
        "where": where,
        "user": as_id(row.get("user")),
        "id": as_id(row.get("vote")),
        "time": row.get("created_at"),
        "comment": as_text(row.get("comment")),
    }
    if row.get("comparison") is None:
        yield _rated(as_map(row.get("answer")), row, shared)
    else:
        yield from _compared(row, shared)


def _rated(answer: Mapping[str, Any], row: RawRow, shared: Mapping[str, Any]) -> Rated:
    words = as_text(row.get("correction"))
    return Rated(
        **shared,
        **_asked(answer),
        completion=_said(answer),
        label=thumb(row.get("rating"), up=(1,), down=(-1,)),
        correction=() if words is None else (Message("assistant", words),),
        answer=f"{answer.get('completion_id')} {answer.get('choice')}",
        model=as_text(answer.get("model")),
        finished=has_ended(answer.get("finish_reason")),
        answered_at=answer.get("created_at"),
    )


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the answers of the store's chats on which nobody voted; its rows as text hold none."""
    for file in export.files:
        if file.kind == "SQLite":
            rows = ((Where(file.path, number), row) for number, row in unrated(file.path) if row is not None)
            yield from each_shown(rows, _not_voted)


def _not_voted(answer: RawRow, where: Where) -> Iterator[Unrated]:
    yield Unrated(
        where=where,
        answer=f"{answer.get('completion_id')} {answer.get('choice')}",
        completion=_said(answer),
        number=sum(at(turn, "role") == "user" for turn in as_list(answer.get("messages"))),
        model=as_text(answer.get("model")),
        user=as_id(answer.get("user")),
        conversation=as_id(answer.get("conversation")),
        time=answer.get("created_at"),
    )


def _compared(row: RawRow, shared: Mapping[str, Any]) -> Iterator[Imported]:
    """Yield a pair; of two answers that are both bad two thumbs down; of a tie that it says nothing."""
    left, right, verdict = as_map(row.get("left")), as_map(row.get("right")), row.get("verdict")
    name = as_id(row.get("comparison"))
    if verdict == "tie":
        yield LeftOut("no verdict", shared["where"], "the two answers were found equally good")
    elif verdict == "both_bad":
        for side, answer in (("left", left), ("right", right)):
            yield Rated(
                **{**shared, "id": f"{shared['id']}:{side}"},
                **_asked(answer),
                completion=_said(answer),
                label=False,
                answer=f"{name} {side}",
                model=as_text(answer.get("model")),
                finished=has_ended(answer.get("finish_reason")),
            )
    elif verdict in ("left", "right"):
        chosen, rejected = (left, right) if verdict == "left" else (right, left)
        yield Compared(
            **shared,
            **_asked(chosen),
            chosen=_said(chosen),
            rejected=_said(rejected),
            answer=name,
            chosen_model=as_text(chosen.get("model")),
            rejected_model=as_text(rejected.get("model")),
            chosen_finished=has_ended(chosen.get("finish_reason")),
            rejected_finished=has_ended(rejected.get("finish_reason")),
        )
    else:
        raise RefusalError("not a verdict", f"the verdict {short_repr(verdict)} is none of left, right, tie, both_bad")


def _asked(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer was asked, as fields of a verdict."""
    return {
        "messages": read_messages(answer.get("messages")),
        "tools": tuple(tool for tool in as_list(answer.get("tools")) if isinstance(tool, Mapping)),
        "conversation": as_id(answer.get("conversation")),
    }


def _said(answer: Mapping[str, Any]) -> tuple[Message, ...]:
    if answer.get("finish_reason") == "stopped":
        raise RefusalError("unfinished answer", "its reader hung up before the answer was over")
    if not at(answer, "message", "content") and not at(answer, "message", "tool_calls"):
        raise RefusalError("unfinished answer", "the answer has no words")
    return read_messages([answer.get("message")], role="assistant")


COLLECTED = Importer(
    name="collected",
    product="haloes serve",
    files="the SQLite file that `haloes serve` keeps",
    how="`haloes serve RUN` writes RUN/collected.db",
    votes="thumbs, corrections (pairs), blind comparisons (pairs; both bad: two thumbs down; a tie is left out)",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
)
