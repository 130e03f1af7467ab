"""
Chainlit: threads with their steps (the data layer's `get_thread`), or the tables of steps and feedbacks in one folder.

A step of type user_message or assistant_message is a turn; other steps (tool, llm, retrieval ...) are what happened
inside of one, and no turns. A vote on a run is on the run's last message.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated, Unrated
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.tree import Node, check_length
from haloes.feedback.importers.values import (
    as_id,
    as_list,
    as_map,
    as_number,
    as_text,
    first_of,
    is_true,
    parsed,
    thumb,
)
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.times import seconds_of
from haloes.records import Message, Where

_HOW = 'export the tables "steps" and "feedbacks" ("Step" and "Feedback" in newer versions) into one folder'
_SPELLINGS = {
    "thread_id": "threadId",
    "for_id": "forId",
    "step_id": "stepId",
    "parent_id": "parentId",
    "user_id": "userId",
    "user_identifier": "userIdentifier",
    "created_at": "createdAt",
    "start_time": "startTime",
    "is_error": "isError",
}
"""Columns as data layers of some databases spell them, and Chainlit's own names."""
_ROLES = {"user_message": "user", "assistant_message": "assistant", "system_message": "system"}


def _recognise(export: Export) -> str | None:
    if any(
        {"threadId", "thread_id"} & as_map(step).keys() and "type" in step
        for row in export.head()
        for step in as_list(row.get("steps"))
    ):
        return "Chainlit threads"
    steps = _step_table(export)
    if _feedbacks(export) is not None:
        if steps is None:
            raise export.unreadable(what="these are feedbacks of Chainlit without the steps", how=_HOW)
        return "Chainlit tables of steps and feedbacks"
    return None if steps is None or not steps.with_columns("feedback") else "Chainlit steps"


def _step_table(export: Export) -> Export | None:
    return export.with_columns("threadId", "type", "output") or export.with_columns("thread_id", "type", "output")


def _feedbacks(export: Export) -> Export | None:
    names = ("forId", "stepId", "for_id", "step_id")
    return next((found for name in names if (found := export.with_columns(name, "value")) is not None), None)


def _read(export: Export) -> Iterator[Imported]:
    steps = _step_table(export) or export.with_columns("steps") or export
    votes = _feedbacks(export)
    is_signed = _is_signed(_steps(steps.rows()) if votes is None else votes.rows())
    with (
        Lookup(_steps(steps.rows()), lambda row: [as_id(row.get("threadId"))]) as threads,
        Lookup(_steps(steps.rows()), lambda row: [as_id(row.get("id"))]) as by_id,
    ):
        if votes is None:
            yield from each_row(_steps(steps.rows()), lambda row, where: _own(row, where, threads, is_signed))
        else:
            yield from each_row(votes.rows(), lambda row, where: _joined(_spelt(row), where, threads, by_id, is_signed))
            yield from by_id.faults


def _steps(rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Yield steps one by one, also those that stand in a thread."""
    for where, row in rows:
        inside = parsed(row.get("steps")) if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(inside, list):
            yield where, _spelt(row) if isinstance(row, Mapping) else row
            continue
        user = first_of(_spelt(row), "userId", "userIdentifier")
        for step in inside:
            if isinstance(step, Mapping):
                yield where, {"userId": user, **_spelt(step)}
            else:
                yield where, RefusalError("wrong type", "a step of the thread is no JSON object")


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the assistant's messages without a vote, thread by thread in the order of time."""
    steps = _step_table(export) or export.with_columns("steps") or export
    votes = _feedbacks(export) or Export(export.path, ())
    voted = {
        as_id(first_of(_spelt(row), "forId", "stepId")) for _, row in votes.rows() if not isinstance(row, RefusalError)
    }
    done = set[str | None]({None})
    with Lookup(_steps(steps.rows()), lambda row: [as_id(row.get("threadId"))]) as threads:
        for _, step in _steps(steps.rows()):
            thread = None if isinstance(step, RefusalError) else as_id(step.get("threadId"))
            if thread not in done:
                done.add(thread)
                yield from _not_voted(threads.rows(thread), voted - {None})


def _not_voted(steps: Sequence[tuple[Where, Node]], voted: Collection[str | None]) -> Iterator[Unrated]:
    asked = 0
    for where, step in sorted(steps, key=lambda placed: _begun(placed[1])):
        asked += step.get("type") == "user_message"
        # A vote on a run is on one of its messages.
        is_voted = not {as_id(step.get("id")), as_id(step.get("parentId"))}.isdisjoint(voted)
        own = as_map(step.get("feedback")).get("value")
        is_answer = step.get("type") == "assistant_message" and asked and not is_true(step.get("isError"))
        if not is_answer or is_voted or own is not None:
            continue
        with suppress(RefusalError):
            yield Unrated(
                where=where,
                answer=as_id(step.get("id")),
                completion=_turns(step),
                number=asked,
                model=as_text(first_of(as_map(step.get("generation")), "model")),
                user=as_id(step.get("userId")),
                conversation=as_id(step.get("threadId")),
                time=step.get("createdAt"),
            )


def _spelt(row: RawRow) -> RawRow:
    """Return a row with the columns as Chainlit spells them."""
    return {_SPELLINGS.get(name, name): value for name, value in row.items()}


def _is_signed(rows: Iterable[PlacedRow]) -> bool:
    """Return whether votes are -1, 0 and 1, as before version 1.1, when a 0 was a vote taken back."""
    return any(
        as_number(first_of(each, "value")) == -1
        for _, row in rows
        if isinstance(row, Mapping)
        for each in (row, as_map(row.get("feedback")))
    )


def _label(value: object, *, is_signed: bool) -> bool | None:
    return thumb(value, up=(1,), down=(-1,), none=(0,)) if is_signed else thumb(value, up=(1,), down=(0,))


def _own(row: RawRow, where: Where, threads: Lookup, is_signed: bool) -> Iterator[Imported]:
    """Yield the feedback that a step carries, if it has one."""
    vote = as_map(row.get("feedback"))
    if vote.get("value") is not None:
        yield _rated(vote, row, where, threads, _label(vote["value"], is_signed=is_signed))


def _joined(row: RawRow, where: Where, threads: Lookup, by_id: Lookup, is_signed: bool) -> Iterator[Imported]:
    """Yield a feedback with the step that it is on."""
    identity = as_id(first_of(row, "forId", "stepId"))
    found = by_id.rows(identity)
    if not found:
        raise RefusalError("answer not in the export", f"the step {short_repr(identity)} is not among the steps")
    yield _rated(row, found[0][1], where, threads, _label(row.get("value"), is_signed=is_signed))


def _rated(vote: RawRow, step: Node, where: Where, threads: Lookup, label: bool | None) -> Rated:
    thread = as_id(step.get("threadId"))
    chat = sorted((each for _, each in threads.rows(thread)), key=_begun)
    answer = _message_of(step, chat)
    if is_true(answer.get("isError")):
        raise RefusalError("unfinished answer", "the answer failed")
    # Steps of one moment stay in the order of the export.
    place = next((place for place, each in enumerate(chat) if each.get("id") == answer.get("id")), len(chat))
    check_length(chat[:place])
    following = next((each for each in chat[place + 1 :] if each.get("type") == "user_message"), None)
    return Rated(
        where=where,
        messages=tuple(turn for each in chat[:place] for turn in _turns(each)),
        completion=_turns(answer),
        label=label,
        answer=as_id(answer.get("id")),
        user=as_id(first_of(step, "userId")),
        conversation=thread,
        id=as_id(vote.get("id")) or as_id(answer.get("id")),
        model=as_text(first_of(as_map(answer.get("generation")), "model")),
        time=answer.get("createdAt"),
        comment=as_text(vote.get("comment")),
        hindsight=None if following is None else as_text(following.get("output")),
    )


def _begun(step: Node) -> float:
    return seconds_of(first_of(step, "createdAt", "start", "startTime")) or 0.0


def _message_of(step: Node, chat: Sequence[Node]) -> Node:
    """Return the message that a vote is on: the step itself, or a run's last message."""
    if _role_of(step) is not None:
        answer = step
    else:
        inside = [each for each in chat if each.get("parentId") == step.get("id") and _role_of(each) is not None]
        if not inside:
            raise RefusalError("answer not in the export", f"the rated step is a {short_repr(step.get('type'))}")
        answer = inside[-1]
    if answer.get("type") != "assistant_message":
        raise RefusalError("last turn not assistant", f"the rated step is a {short_repr(answer.get('type'))}")
    return answer


def _role_of(step: Node) -> str | None:
    """Return who speaks in a step; None for one that is no message."""
    return _ROLES.get(str(step.get("type")))


def _turns(step: Node) -> tuple[Message, ...]:
    role = _role_of(step)
    return () if role is None else read_messages([{"role": role, "content": step.get("output")}])


CHAINLIT = Importer(
    name="chainlit",
    product="Chainlit",
    files="threads with their steps, or a folder with the tables of steps and feedbacks",
    how=_HOW,
    votes="1 up, 0 down; where there are votes of -1, as before version 1.1, these are down and 0 is no verdict",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    has_system=False,
)
