"""
What the columns of a file that nobody mapped would give: conversation, user, group, weight, and the order of turns.

Only what was checked is proposed: names repeat, weights are positive numbers, places in a session are numbers or dates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from haloes.feedback import column_guess as guess
from haloes.feedback.columns import columns_option, rename
from haloes.feedback.doctor.advice import share_of
from haloes.feedback.doctor.findings import DataAdvice
from haloes.feedback.doctor.text_signs import leans_on_earlier
from haloes.feedback.fields import RawRow, parse_shared_fields
from haloes.feedback.formats.unpaired import UNPAIRED
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.read import FeedbackSource
from haloes.feedback.refusals import RefusalError
from haloes.feedback.sessions import Sessions, parse_order
from haloes.records import Message, Where

LOOKED_AT = 20_000
"""Rows that are looked at."""
_MOST_EXAMPLES = 3
_FEWEST_FOLLOW_UPS = 2

_MEANINGS = {
    "conversation": "answers of one conversation may be held out while others of it are trained on",
    "user": "nobody sees whether one person's taste prevails, or who always votes the same",
    "group": "answers to one prompt in other words may be held out while others are trained on",
    "weight": "every row counts alike",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as the file has it, and under our names."""

    where: Where
    raw: RawRow
    ours: RawRow


def column_advice(source: FeedbackSource) -> list[DataAdvice]:
    """Return what columns to map besides, what the order of sessions shows, and which prompts lack their history."""
    if isinstance(source.reader, ExportReader):
        return []  # what its columns are is known
    raw_rows = ((Where(source.path, line), raw) for line, raw in islice(source.raw_rows(), LOOKED_AT))
    rows = [
        _Row(where, raw, rename(raw, source.columns)) for where, raw in raw_rows if not isinstance(raw, RefusalError)
    ]
    found = dict(_unmapped(source, rows))
    mapping = {**source.columns, **found}
    advice = [_proposal(found, mapping, len(rows))] if found else []
    session = found.get("conversation", "conversation")
    if source.sessions is not None:
        return [*advice, *_order_faults(source.read_sessions(source.sessions))]
    return [*advice, *_follow_ups(source, rows, session=session, mapping=mapping)]


def _unmapped(source: FeedbackSource, rows: Sequence[_Row]) -> Iterator[tuple[str, str]]:
    """Yield our names with the columns that would fill them, where rows do not have them yet and the check holds."""
    values = guess.values_of(row.raw for row in rows)
    taken = set(source.columns.values()) | set(source.columns)
    for name, holds in _CHECKS.items():
        if name in source.columns or any(row.ours.get(name) is not None for row in rows):
            continue
        for column in guess.columns_for(name, (each for each in values if each not in taken)):
            if 2 * len(values[column]) >= len(rows) and _can_be_read(name, values[column]) and holds(rows, column):
                yield name, column
                break


def _can_be_read(name: str, given: Sequence[object]) -> bool:
    """Return whether every value can stand for this name of ours."""
    try:
        for value in given:
            parse_shared_fields({name: value})
    except RefusalError:
        return False
    return True


def _repeats(rows: Sequence[_Row], column: str) -> bool:
    """Return whether a column names things that several rows share, and not one thing or each row."""
    names = [str(row.raw[column]) for row in rows if row.raw.get(column) not in (None, "")]
    return 1 < len(set(names)) < len(names)


def _groups_prompts(rows: Sequence[_Row], column: str) -> bool:
    """Return whether a column joins prompts of different words, a few each: a subject of many prompts is no prompt."""
    prompts: dict[str, set[str]] = {}
    for row in rows:
        if row.raw.get(column) not in (None, "") and row.ours.get("prompt") is not None:
            prompts.setdefault(str(row.raw[column]), set()).add(str(row.ours["prompt"]).strip())
    num = sum(map(len, prompts.values()))
    return _repeats(rows, column) and len(prompts) < num <= 2 * len(prompts)


def _differs(rows: Sequence[_Row], column: str) -> bool:
    return len({str(row.raw.get(column)) for row in rows}) > 1


_CHECKS: Mapping[str, Callable[[Sequence[_Row], str], bool]] = {
    "conversation": _repeats,
    "user": _repeats,
    "group": _groups_prompts,
    "weight": _differs,
}


def _proposal(found: Mapping[str, str], mapping: Mapping[str, str | None], num_rows: int) -> DataAdvice:
    columns = ", ".join(f"{column} ({name})" for name, column in found.items())
    return DataAdvice(
        severity="note",
        name="columns that are not used",
        finding=f"columns that seem to hold more, checked on {num_rows} rows: {columns}",
        meaning="; ".join(_MEANINGS[name] for name in found),
        action=f"if they are what they seem, beside the other options: {columns_option(mapping)}",
    )


def _follow_ups(
    source: FeedbackSource, rows: Sequence[_Row], *, session: str, mapping: Mapping[str, str | None]
) -> Iterator[DataAdvice]:
    """Yield advice where prompts in the middle of a session read like follow-ups and come without what was said."""
    if source.format_name != UNPAIRED.name:
        return
    order = next((column for column in guess.columns_for("order", _names(rows)) if _orders(rows, column)), None)
    sessions: dict[str, list[_Row]] = {}
    for row in rows:
        name = row.ours.get("conversation") or row.raw.get(session)
        if name not in (None, ""):
            sessions.setdefault(str(name), []).append(row)
    if order is not None:
        for turns in sessions.values():
            turns.sort(key=lambda row: parse_order(row.raw[order], column=order)[1])
    later = [row for turns in sessions.values() for row in turns[1:]]
    leaning = [row for row in later if leans_on_earlier(_asked_alone(row.ours.get("prompt")))]
    if len(leaning) < _FEWEST_FOLLOW_UPS:
        return
    examples = ", ".join(f"{row.where} {_asked_alone(row.ours['prompt'])[:40]!r}" for row in leaning[:_MOST_EXAMPLES])
    more = ", ..." if len(leaning) > _MOST_EXAMPLES else ""
    columns = f"{columns_option(mapping)} " if mapping else ""
    yield DataAdvice(
        severity="warning",
        name="follow-ups without history",
        finding=f"{share_of(len(leaning), len(later))} prompts that are not the first of their session lean on what "
        f"was said before, and come without it ({examples}{more})",
        meaning="they are trained on, held out and answered as if they were first questions",
        action=f"put the earlier turns before them: {columns}--set feedback.sessions={order or 'COLUMN'}"
        + ("" if order else " (a number or an ISO date for each turn; no such column was found)"),
    )


def _names(rows: Sequence[_Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.raw))


def _orders(rows: Sequence[_Row], column: str) -> bool:
    """Return whether a column has a place for every row, all of one kind, and more than one of them."""
    kind, places = None, set()
    try:
        for row in rows:
            kind, place = parse_order(row.raw.get(column), column=column, kind=kind)
            places.add(place)
    except RefusalError:
        return False
    return len(places) > 1


def _asked_alone(prompt: object) -> str:
    """Return the words of a prompt of one turn; nothing for a chat with more, which has its history."""
    if isinstance(prompt, str):
        return prompt
    turns = prompt if isinstance(prompt, list | tuple) else ()
    words = [turn.content if isinstance(turn, Message) else turn.get("content") or turn.get("value") for turn in turns]
    return words[0] if len(words) == 1 and isinstance(words[0], str) else ""


def _order_faults(sessions: Sessions) -> Iterator[DataAdvice]:
    faults = sessions.faults()
    yield DataAdvice(
        severity="note",
        name="sessions",
        finding=f"{faults.num_later_turns} rows of {faults.num_sessions} sessions have earlier turns",
        meaning="these turns are put before their prompts, each question with its answer",
        action="nothing, if the column of the order is the right one",
    )
    cases = (
        (
            *("turns in the same place", faults.num_same_place, faults.same_place),
            "rows with the place of another of their session",
            "neither is put before the other, and only the last answer of a place goes before later turns",
        ),
        (
            *("missing turns", faults.num_missing, faults.missing),
            "gaps in the numbers of turns, or missing first turns",
            "the history that is put before later turns lacks what was said there",
        ),
    )
    for name, num, examples, what, meaning in cases:
        if num:
            more = ", ..." if num > len(examples) else ""
            yield DataAdvice(
                severity="warning",
                name=name,
                finding=f"{what}: {num} ({', '.join(examples)}{more})",
                meaning=meaning,
                action="look at these sessions; leave them out if their order cannot be told",
            )
