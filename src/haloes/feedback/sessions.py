"""
Turns of a session as a conversation: earlier rows become the history of a row's prompt.

A log has a row for each turn: its session, a place in it (a number or a time), what was asked, and the answer. Alone,
"and in winter?" is no question that anyone can answer. Here the turns before it, in the order of the column that the
user names (`feedback.sessions`), are put before it. Rows that nobody rated are turns as well. The texts of the file
are held in memory meanwhile.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal, TypeAlias

from haloes.feedback.fields import RawRow
from haloes.feedback.labels import parse_score
from haloes.feedback.messages import parse_completion, parse_prompt
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Feedback, Message, Record, Text, Where

OrderKind: TypeAlias = Literal["number", "date"]

_MOST_EXAMPLES = 3
_FIRST_TURNS = (0, 1)
"""Numbers that the first turn of a session has where turns are counted."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a session."""

    order: float
    row: int
    """Number of the row in the file, from 0."""
    where: Where
    said: tuple[Message, ...]
    """What was asked and answered; empty where the row has no usable text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFaults:
    """What is odd about the order of turns, each with its first places."""

    num_sessions: int
    num_later_turns: int
    """Rows that others of their session come before."""
    same_place: tuple[str, ...]
    """Rows with the order of another row of their session."""
    missing: tuple[str, ...]
    """Gaps in the numbers of turns, or first turns that are missing."""
    num_same_place: int
    num_missing: int


@dataclass(slots=True)
class Sessions:
    """The turns of all sessions; made by `read_sessions`."""

    kind: OrderKind | None = None
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    """Session -> its turns in their order."""
    places: dict[int, tuple[str, float] | RefusalError] = field(default_factory=dict)
    """Number of a row -> its session and place, or why it has none; rows of no session are not there."""

    def with_history(self, record: Record, row: int) -> Record:
        """Return the record of a row with the turns before it; a refusal where the row has no place in its session."""
        place = self.places.get(row)
        if place is None or not isinstance(record, Feedback):
            return record
        if isinstance(place, RefusalError):
            return record if record.where is None else place.at(record.where)
        name, own = place
        # Of several rows in the same place (an answer that was asked for again) the last is what was gone on from.
        before = {turn.order: turn.said for turn in self.turns[name] if turn.order < own}
        history = tuple(message for said in before.values() for message in said)
        return replace(record, prompt=_after(history, record.prompt)) if history else record

    def faults(self) -> SessionFaults:
        """Find places that are taken twice, and turns that are missing."""
        same, missing = list[str](), list[str]()
        for name, turns in self.turns.items():
            taken = Counter(turn.order for turn in turns)
            seen = set[float]()
            for turn in turns:
                if turn.order in seen:
                    same.append(f"{turn.where} in session {name}")
                seen.add(turn.order)
            missing += _gaps(name, turns[0], sorted(taken)) if self._counts_turns() else []
        return SessionFaults(
            num_sessions=len(self.turns),
            num_later_turns=sum(len(turns) - 1 for turns in self.turns.values()),
            same_place=tuple(same[:_MOST_EXAMPLES]),
            missing=tuple(missing[:_MOST_EXAMPLES]),
            num_same_place=len(same),
            num_missing=len(missing),
        )

    def _counts_turns(self) -> bool:
        """Return whether the numbers count turns, from 0 or 1 in most sessions, so that a gap means something."""
        whole = all(turn.order.is_integer() for turns in self.turns.values() for turn in turns)
        begin = sum(turns[0].order in _FIRST_TURNS for turns in self.turns.values())
        return self.kind == "number" and whole and 2 * begin > len(self.turns)


def read_sessions(rows: Iterable[tuple[Where, RawRow | RefusalError]], *, order: str) -> Sessions:
    """
    Read the turns of all sessions: rows of `prompt`, `completion`, `conversation` and a column of the order.

    Args:
        rows: The rows under our names, each with its place.
        order: The column that says where in its session a row stands.
    """
    sessions = Sessions()
    for number, (where, row) in enumerate(rows):
        name = None if isinstance(row, RefusalError) else row.get("conversation")
        if isinstance(row, RefusalError) or name is None or name == "":
            continue
        try:
            kind, place = parse_order(row.get(order), column=order, kind=sessions.kind)
        except RefusalError as refused:
            sessions.places[number] = refused
            continue
        sessions.kind = kind
        sessions.places[number] = (str(name), place)
        sessions.turns.setdefault(str(name), []).append(Turn(place, number, where, _said(row)))
    for turns in sessions.turns.values():
        turns.sort(key=lambda turn: (turn.order, turn.row))
    return sessions


def parse_order(value: object, *, column: str, kind: OrderKind | None = None) -> tuple[OrderKind, float]:
    """
    Parse a place in a session: a number, or a time by ISO 8601 ("2024-05-01T10:00:00Z"); a time without zone is UTC.

    Args:
        value: The row's value.
        column: Name of the column in messages.
        kind: What the rows before have, with which this one must be comparable; None for the first.

    Raises:
        RefusalError: It is neither, or not of this kind.
    """
    found, place = _place(value, column=column)
    if kind is not None and found != kind:
        message = f"{column} is {short_repr(value)}, a {found}, and the rows before have a {kind} there"
        raise RefusalError("order", message, column=column)
    return found, place


def _place(value: object, *, column: str) -> tuple[OrderKind, float]:
    if isinstance(value, datetime):
        value = value.isoformat()
    try:
        return "number", parse_score(value)
    except RefusalError:
        pass
    try:
        time = datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
    except ValueError as error:
        message = (
            f"{column} is {short_repr(value)}, neither a number nor an ISO date: the row has no place in its session"
        )
        raise RefusalError("order", message, column=column) from error
    return "date", (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _said(row: RawRow) -> tuple[Message, ...]:
    """Return the question and the answer of a row as turns; nothing where either cannot be used."""
    try:
        asked, answered = parse_prompt(row.get("prompt")), parse_completion(row.get("completion"))
    except RefusalError:
        return ()
    question = _messages(asked, role="user")
    last = max(place for place, message in enumerate(question) if message.role == "user")
    return (*question[last:], *_messages(answered, role="assistant"))


def _after(history: tuple[Message, ...], prompt: Text) -> Text:
    """Return a prompt after a history; one that holds an answer already has a history of its own, and stays."""
    own = _messages(prompt, role="user")
    if any(message.role == "assistant" for message in own):
        return prompt
    system = tuple(message for message in own if message.role == "system")
    return (*system, *history, *(message for message in own if message.role != "system"))


def _messages(text: Text, *, role: str) -> tuple[Message, ...]:
    return (Message(role, text),) if isinstance(text, str) else text


def _gaps(name: str, first: Turn, places: list[float]) -> Iterator[str]:
    if places[0] > max(_FIRST_TURNS):
        yield f"{first.where}: session {name} begins with turn {places[0]:g}"
    for place, after in pairwise(places):
        if after - place > 1:
            yield f"session {name}: no turn between {place:g} and {after:g}"
