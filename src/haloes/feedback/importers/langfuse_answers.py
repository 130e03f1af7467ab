"""
The answer that a score of Langfuse is on.

A score on a call of a model (an observation of type GENERATION) is on that call. One on a trace, or on a step that is
no call, is on what that says itself: its prompt is that of the call which gave the same answer, since an application
often logs the question alone and its call the whole chat. Where a trace says nothing, its last call counts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import Call
from haloes.feedback.importers.call import has_reply_ended, read_call
from haloes.feedback.importers.export import PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.langfuse_rows import GivenScore, is_observation, is_trace, trace_of
from haloes.feedback.importers.spans import Answered
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, first_of, parsed_twice
from haloes.feedback.messages import same_completion
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.times import seconds_of
from haloes.records import Message, Where

_IN_TRACE = "in trace "
"""Before a trace's id, in the key of what lies in it: an observation may have the id of a trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a score is on."""

    before: tuple[Message, ...]
    answer: tuple[Message, ...]
    model: str | None
    user: str | None
    session: str | None
    finished: bool | None
    tools: tuple[Mapping[str, Any], ...]


def answer_keys(row: RawRow) -> list[str | None]:
    """Return the keys by which a trace or an observation is looked up."""
    if is_observation(row):
        trace = trace_of(row)
        told = trace is not None and (_is_call(row) or _is_root(row))
        return [as_id(row.get("id")), f"{_IN_TRACE}{trace}" if told else None]
    return [f"{_IN_TRACE}{as_id(row.get('id'))}"] if is_trace(row) else []


def wanted_keys(score: GivenScore) -> list[str | None]:
    """Return the keys of what the answer of a score is made from."""
    return [score.observation, None if score.trace is None else f"{_IN_TRACE}{score.trace}"]


def find_answer(score: GivenScore, found: Lookup) -> Answer:
    """Return the answer that a score is on. Raises RefusalError where it is not in the export, or is none."""
    return _find(score.trace, score.observation, found)


@dataclass(slots=True)
class Scored:
    """What people's scores are on."""

    observations: set[str | None] = field(default_factory=set)
    traces: set[str | None] = field(default_factory=set)
    around: set[str | None] = field(default_factory=set)
    """Traces that the observations are in."""

    def add(self, score: GivenScore) -> None:
        """Take in a score."""
        if score.observation is None:
            self.traces.add(score.trace)
        else:
            self.observations.add(score.observation)
            self.around.add(score.trace)


def calls_of(rows: Iterable[PlacedRow], found: Lookup | None, scored: Scored) -> Iterator[Call]:
    """
    Yield what a score could be on, once each: every call of a model, and every trace.

    Calls in a trace that is scored itself, and traces of which a call is, are none: their answer is one that is rated.

    Args:
        rows: Observations and traces.
        found: Those of the traces that are read; None where none is.
        scored: What people scored.
    """
    seen = set[str | None]({None})
    for where, row in rows:
        if isinstance(row, RefusalError):
            continue
        trace, identity = as_id(row.get("id")) if is_trace(row) else trace_of(row), as_id(row.get("id"))
        is_scored = identity in scored.observations
        if is_observation(row) and _is_call(row) and (is_scored or trace not in scored.traces):
            read = partial(_answered, _answer, row, [], (row,))
            yield _call(
                row, where, identity, as_text(row.get("name")), is_first=_is_root(row), is_rated=is_scored, read=read
            )
        if trace not in seen and (is_trace(row) or (is_observation(row) and _is_root(row))):
            seen.add(trace)
            is_scored = trace in scored.traces
            if is_scored or trace not in scored.around:
                named = f"trace {as_text(first_of(row, 'traceName', 'trace_name', 'name'))}"
                read = partial(_answered, _find, trace, None, found)
                yield _call(row, where, trace, named, is_first=True, is_rated=is_scored, read=read)


def _call(
    row: RawRow,
    where: Where,
    answer: str | None,
    name: str | None,
    *,
    is_first: bool,
    is_rated: bool,
    read: Callable[[], Answered],
) -> Call:
    return Call(
        where=where,
        is_rated=is_rated,
        answer=answer,
        name=name,
        is_first=is_first,
        user=_first((row,), "userId", "user_id"),
        conversation=_first((row,), "sessionId", "session_id"),
        time=first_of(row, "startTime", "start_time", "timestamp"),
        read=read,
    )


def _answered(read: Callable[..., Answer], *given: object) -> Answered:
    """Return an answer as what is told of any tool's span."""
    answer = read(*given)
    return Answered(answer.before, answer.answer, answer.model, answer.user, answer.session)


def key_of_trace(trace: str | None) -> str:
    """Return the key of what lies in a trace."""
    return f"{_IN_TRACE}{trace}"


def _find(trace: str | None, observation: str | None, found: Lookup) -> Answer:
    in_trace = [] if trace is None else [row for _, row in found.rows(f"{_IN_TRACE}{trace}")]
    calls = _in_order(row for row in in_trace if _is_call(row))
    if observation is not None:
        own = [row for _, row in found.rows(observation) if is_observation(row)]
        what = f"the observation {short_repr(observation)}"
    else:
        roots = _in_order(row for row in in_trace if is_observation(row) and _is_root(row))
        traces = [row for row in in_trace if is_trace(row)]
        # The trace itself, else the step that began it, else its last call.
        own = _with_output(traces) or _with_output(roots) or calls or roots or traces
        what = f"the trace {short_repr(trace)}"
    if not own:
        raise RefusalError("answer not in the export", f"{what} is not in the export")
    if str(own[-1].get("level")).upper() == "ERROR":
        raise RefusalError("unfinished answer", f"{what} failed")
    return _answer(own[-1], calls, (*in_trace, own[-1]))


def _answer(own: RawRow, calls: list[dict[str, Any]], rows: tuple[RawRow, ...]) -> Answer:
    """Return the answer of a row, with the prompt of the call that gave it."""
    call, (before, answer) = own, _read(own)
    if not _is_call(own):
        # An application may log a text as JSON, in quotes, which the call that gave it does not have.
        told = (answer[-1:], _without_quotes(answer[-1:]))
        for other in calls:
            try:
                asked, said = _read(other)
            except RefusalError:
                continue
            if any(same_completion(said[-1:], each) for each in told):
                call, before, answer = other, asked, said
    return Answer(
        before=before,
        answer=answer,
        model=as_text(first_of(call, "providedModelName", "provided_model_name", "model")),
        user=_first(rows, "userId", "user_id"),
        session=_first(rows, "sessionId", "session_id"),
        finished=has_reply_ended(call.get("output")),
        tools=_tools(call.get("input")),
    )


def _without_quotes(answer: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return an answer with the text that its words spell as JSON; one that spells none unchanged."""
    return tuple(
        replace(turn, content=words) if isinstance(words := parsed_twice(turn.content), str) else turn
        for turn in answer
    )


def _read(row: RawRow) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    return read_call(row.get("input"), row.get("output"))


def _is_call(row: RawRow) -> bool:
    return str(row.get("type")).upper() == "GENERATION"


def _is_root(row: RawRow) -> bool:
    return row.get("isRootObservation") is True or not first_of(row, "parentObservationId", "parent_observation_id")


def _in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    several = list(rows)
    return sorted(several, key=_began) if len(several) > 1 else several


def _began(row: RawRow) -> float:
    return seconds_of(first_of(row, "startTime", "start_time")) or 0.0


def _with_output(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row.get("output") not in (None, "", {}, [])]


def _first(rows: tuple[RawRow, ...], *names: str) -> str | None:
    return next((text for row in rows if (text := as_id(first_of(row, *names))) is not None), None)


def _tools(inputs: object) -> tuple[Mapping[str, Any], ...]:
    tools = as_list(as_map(inputs).get("tools"))
    return tuple(each for each in tools if isinstance(each, Mapping) and isinstance(each.get("function"), Mapping))
