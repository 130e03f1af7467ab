"""
OpenTelemetry GenAI: events with an evaluation, joined to the spans that they are about.

Events are `gen_ai.evaluation.result` and the older `gen_ai.evaluation.user_feedback`, as rows of their own (log
records) or inside of a span. They name the response (`gen_ai.response.id`), or stand in the span that they are about.

Who evaluated is not part of the conventions: an evaluation called after users ("user_feedback", "thumbs") is a
person's, any other one a program's. Emitters turn scores of user feedback round, so that a label beside the score
decides, and a score and a label that disagree are left out.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, Call, unrated_calls
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, NotShown, Rated, Unrated, Voter
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, Verdict, check_agreed, scales_of
from haloes.feedback.importers.spans import attribute, attributes_of, is_root, read_span, span_id, trace_id, whose
from haloes.feedback.importers.values import as_id, as_list, as_text, first_of
from haloes.feedback.labels import known_label
from haloes.records import Where

_RESULT, _USER = "gen_ai.evaluation.result", "gen_ai.evaluation.user_feedback"
_NAMES = ("event_name", "eventName", "name", "event.name", "Name")
_OF_USERS = re.compile(r"user|human|thumb|customer|feedback", re.IGNORECASE)
_HOW = "export the spans and the gen_ai.evaluation events as JSON lines, into one folder"


def _recognise(export: Export) -> str | None:
    events = [event for row in export.head() for event in _events_of(row)]
    if not events:
        return None
    if not any("gen_ai.output.messages" in attributes_of(row) or _has_words(row) for row in export.head()):
        raise export.unreadable(
            what="these are OpenTelemetry evaluations without spans that hold the messages (gen_ai.output.messages)",
            how=_HOW,
        )
    return "OpenTelemetry GenAI spans and evaluations"


def _has_words(row: RawRow) -> bool:
    given = attributes_of(row)
    return any(attribute(given, name) is not None for name in ("gen_ai.output.messages", "output.value"))


def _events_of(row: RawRow) -> Iterator[Mapping[str, Any]]:
    """Yield the evaluations that a row is, or holds."""
    if any(row.get(name) in (_RESULT, _USER) for name in _NAMES):
        yield row
    for event in as_list(row.get("events")):
        if isinstance(event, Mapping) and any(event.get(name) in (_RESULT, _USER) for name in _NAMES):
            yield {"trace_id": trace_id(row), "span_id": span_id(row), **event}


def _read(export: Export) -> Iterator[Imported]:
    scales = scales_of((_metric(row), _score(row)) for _, row in _event_rows(export) if isinstance(row, Mapping))
    wanted = {key for _, row in _event_rows(export) if isinstance(row, Mapping) for key in _keys_of_event(row)}
    with Lookup(export.rows(), _keys_of_span, wanted=wanted) as spans:
        yield from each_row(_event_rows(export), lambda row, where: _vote(row, where, spans, scales))
        yield from spans.faults


def _event_rows(export: Export) -> Iterator[PlacedRow]:
    for where, row in export.rows():
        if isinstance(row, Mapping):
            yield from ((where, event) for event in _events_of(row))


def _keys_of_event(event: RawRow) -> list[str]:
    given = attributes_of(event)
    response = as_id(attribute(given, "gen_ai.response.id"))
    return [key for key in (_named("response", response), _named("span", span_id(event))) if key]


def _keys_of_span(row: RawRow) -> list[str | None]:
    if not _has_words(row):
        return []
    response = as_id(attribute(attributes_of(row), "gen_ai.response.id"))
    return [_named("response", response), _named("span", span_id(row))]


def _named(kind: str, identity: str | None) -> str | None:
    return None if identity is None else f"{kind} {identity}"


def _vote(row: RawRow, where: Where, spans: Lookup, scales: Scales) -> Iterator[Imported]:
    found = next((rows for key in _keys_of_event(row) if (rows := spans.rows(key))), None)
    if found is None:
        yield LeftOut("answer not in the export", where, "the response that was evaluated is not among the spans")
        return
    span = found[0][1]
    answered, given, verdict = read_span(span), attributes_of(row), _verdict(row, scales)
    yield Rated(
        where=where,
        messages=answered.before,
        completion=answered.answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        voter=_voter(row),
        metric=_metric(row),
        answer=span_id(span) or as_id(attribute(attributes_of(span), "gen_ai.response.id")),
        user=as_text(attribute(given, "user.id")) or as_text(attribute(given, "enduser.id")) or answered.user,
        conversation=answered.conversation,
        id=as_id(first_of(row, "id", "event_id")),
        model=answered.model,
        time=first_of(row, "timestamp", "time_unix_nano", "timeUnixNano", "time"),
        comment=as_text(attribute(given, "gen_ai.evaluation.explanation")),
    )


def _metric(row: RawRow) -> str | None:
    named = as_text(attribute(attributes_of(row), "gen_ai.evaluation.name"))
    return named or ("user_feedback" if any(row.get(name) == _USER for name in _NAMES) else None)


def _score(row: RawRow) -> object:
    given = attributes_of(row)
    value = attribute(given, "gen_ai.evaluation.score.value")
    return value if value is not None else given.get("gen_ai.evaluation.score")


def _verdict(row: RawRow, scales: Scales) -> Verdict:
    verdict = scales.read(_metric(row), _score(row))
    word = as_text(attribute(attributes_of(row), "gen_ai.evaluation.score.label"))
    if known_label(word) is None:
        return Verdict(word=word) if verdict == Verdict() else verdict
    check_agreed(verdict, word)
    return Verdict(word=word)


def _voter(row: RawRow) -> Voter:
    return "human" if _OF_USERS.search(_metric(row) or "") else "code"


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    events = (row for _, row in _event_rows(export) if isinstance(row, Mapping) and _voter(row) == "human")
    rated = {key for row in events for key in _keys_of_event(row)}
    return unrated_calls(lambda: _calls(export, rated))


def _calls(export: Export, rated: Collection[str]) -> Iterator[Call]:
    for where, span in export.rows():
        if not isinstance(span, Mapping) or not _has_words(span):
            continue
        given = attributes_of(span)
        user, conversation = whose(given)
        yield Call(
            where=where,
            is_rated=any(key in rated for key in _keys_of_span(span)),
            answer=span_id(span) or as_id(attribute(given, "gen_ai.response.id")),
            # The span's own name has the model's in it: "chat gpt-4o".
            name=as_text(attribute(given, "gen_ai.operation.name")) or as_text(span.get("name")),
            is_first=is_root(span),
            user=user,
            conversation=conversation,
            time=first_of(span, "start_time", "start_time_unix_nano", "startTimeUnixNano"),
            read=partial(read_span, span),
        )


OTEL_GENAI = Importer(
    name="otel-genai",
    product="OpenTelemetry GenAI",
    files="a folder (or one file) with spans and gen_ai.evaluation events",
    how=_HOW,
    votes="a label's word (good, bad, up, down ...), else scores: 0 and 1, or -1 and 1, are thumbs, others points",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
