"""
MLflow 3: traces with assessments, as `Trace.to_dict()` writes them or as the rows of `search_traces`.

A feedback is a verdict; an expectation that is a text is the answer that was wanted, and makes a pair with the one that
was given. Assessments that are invalid, or that a later one overrides, are left out.
"""

import base64
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, Call, unrated_calls
from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, NotShown, Rated, Unrated, Voter
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, Verdict, scales_of
from haloes.feedback.importers.spans import Answered, as_json, attributes_of, is_root, read_span, span_id
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, parsed
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_HOW = "[trace.to_dict() for trace in mlflow.search_traces(..., return_type='list')] as JSON lines"
_NO_ANSWERS = {"guidelines", "expected_facts", "expected_retrieved_context"}
"""Expectations of MLflow's own names that say something of an answer, and are none."""
_SPEAKS = {"LLM", "CHAT_MODEL", "AGENT"}
"""Types of spans whose output is an answer."""
_VOTERS: dict[str, Voter] = {"HUMAN": "human", "LLM_JUDGE": "model", "AI_JUDGE": "model", "CODE": "code"}


def _recognise(export: Export) -> str | None:
    for row in export.head():
        if "trace_info" in row or {"info", "data"} <= row.keys():
            info = as_map(row.get("info"))
            if "spans" in as_map(row.get("data")) and "trace_id" in info:
                return "MLflow traces"
            if "request_metadata" in info:
                what = "these are traces of MLflow 2, which hold no assessments"
                raise export.unreadable(what=what, how=f"With MLflow 3: {_HOW}.")
        elif {"assessments", "trace_id", "request", "response"} <= row.keys():
            return "MLflow traces (search_traces)"
    return None


def _read(export: Export) -> Iterator[Imported]:
    def values() -> Iterator[tuple[str | None, object]]:
        for _, row in export.rows():
            for each in _assessments(row) if isinstance(row, Mapping) else ():
                yield _name(each), _value(each)

    scales = scales_of(values())
    return each_row(export.rows(), lambda row, where: _votes(row, where, scales))


def _info(row: RawRow) -> Mapping[str, Any]:
    """Return what a trace says of itself: under "info", or the row's own columns."""
    inside = as_map(row.get("info"))
    return inside or row


def _assessments(row: RawRow) -> list[Any]:
    return as_list(_info(row).get("assessments"))


def _votes(row: RawRow, where: Where, scales: Scales) -> Iterator[Imported]:
    given = _assessments(row)
    overridden = {as_id(at(each, "overrides")) for each in given} - {None}
    for each in given:
        try:
            yield _rated(each, row, where, scales, overridden=overridden)
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def _rated(assessment: object, row: RawRow, where: Where, scales: Scales, *, overridden: set[str | None]) -> Imported:
    identity, name = as_id(at(assessment, "assessment_id")), _name(assessment)
    if at(assessment, "valid") is False or identity in overridden:
        return LeftOut("earlier vote", where, f"the assessment {short_repr(name)} was corrected by a later one")
    kind = str(at(assessment, "source", "source_type") or "").removeprefix("SOURCE_TYPE_").upper()
    if kind not in _VOTERS:
        raise RefusalError("not a verdict", f"the assessment's source is {short_repr(kind)}")
    on = _span_of(assessment, row)
    answered = _answered(row, on)
    correction, verdict = _wanted(assessment), Verdict()
    if not correction:
        verdict = _verdict(assessment, scales)
    return Rated(
        where=where,
        messages=answered.before,
        completion=answered.answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        correction=() if not correction else read_messages(correction, role="assistant"),
        voter=_VOTERS[kind],
        metric=name,
        answer="/".join(
            filter(None, (as_id(at(assessment, "trace_id")) or as_id(_info(row).get("trace_id")), _own(on)))
        ),
        user=as_id(at(assessment, "source", "source_id")) or answered.user,
        conversation=answered.conversation,
        id=identity,
        model=answered.model,
        time=first_of(assessment, "last_update_time", "create_time", "last_update_time_ms", "create_time_ms"),
        comment=as_text(at(assessment, "rationale")),
    )


def _name(assessment: object) -> str | None:
    return as_text(first_of(assessment, "assessment_name", "name"))


def _value(assessment: object) -> object:
    return at(assessment, "feedback", "value")


def _verdict(assessment: object, scales: Scales) -> Verdict:
    feedback = at(assessment, "feedback")
    if not isinstance(feedback, Mapping):
        raise RefusalError("not a verdict", f"the assessment {short_repr(_name(assessment))} is no feedback")
    if feedback.get("error"):
        raise RefusalError("no verdict", "the feedback failed")
    if isinstance(feedback.get("value"), Mapping | list):
        raise RefusalError("not a verdict", f"the feedback is {short_repr(feedback['value'])}, no single value")
    return scales.read(_name(assessment), feedback.get("value"))


def _wanted(assessment: object) -> str | None:
    """Return the answer that an expectation wants; None for feedback. Raises RefusalError where it is no text."""
    expectation = at(assessment, "expectation")
    if expectation is None:
        return None
    if _name(assessment) in _NO_ANSWERS:
        raise RefusalError("not a verdict", f"the expectation {short_repr(_name(assessment))} is no answer")
    value = at(expectation, "value")
    if value is None:
        value = parsed(at(expectation, "serialized_value", "value"))
    if as_text(value) is None:
        raise RefusalError("not a verdict", f"the expectation {short_repr(_name(assessment))} is no text of an answer")
    return as_text(value)


def _span_of(assessment: object, row: RawRow) -> Mapping[str, Any] | None:
    """Return the span within the trace that an assessment is on; None where it is on the trace or its root."""
    named = as_id(at(assessment, "span_id"))
    if named is None:
        return None
    found = [span for span in _spans(row) if named.removeprefix("0x") in _span_names(span)]
    if not found:
        raise RefusalError("answer not in the export", f"the span {short_repr(named)} is not in the trace")
    kind = str(as_json(attributes_of(found[0]).get("mlflow.spanType")) or "").upper()
    if is_root(found[0]):
        return None
    if kind not in _SPEAKS:
        raise RefusalError(
            "not a verdict", f"the assessment is on a step of type {short_repr(kind)}, which is no answer"
        )
    return found[0]


def _spans(row: RawRow) -> list[Mapping[str, Any]]:
    spans = as_list(at(row, "data", "spans")) or as_list(row.get("spans"))
    return [span for span in spans if isinstance(span, Mapping)]


def _span_names(span: Mapping[str, Any]) -> set[str]:
    """Return the id of a span as assessments name it: in hexadecimal, which the span's own base64 may spell."""
    own = (span_id(span) or "").removeprefix("0x")
    try:
        return {own, base64.b64decode(own, validate=True).hex()}
    except ValueError:
        return {own}


def _own(span: Mapping[str, Any] | None) -> str | None:
    return None if span is None else span_id(span)


def _answered(row: RawRow, on: Mapping[str, Any] | None) -> Answered:
    """Return what was asked and answered: in this span, else in the trace's root, else in its request and response."""
    info = _info(row)
    if "OK" not in str(first_of(info, "state", "status") or "OK").upper():
        raise RefusalError("unfinished answer", f"the trace ended as {short_repr(first_of(info, 'state', 'status'))}")
    spans = _spans(row)
    metadata = _metadata(row)
    roots = [on] if on is not None else [span for span in spans if is_root(span)]
    if roots:
        found = read_span(roots[0])
        before, answer, model = found.before, found.answer, found.model
    else:
        before, answer = read_call(parsed(row.get("request")), parsed(row.get("response")))
        model = None
    return Answered(
        before=before,
        answer=answer,
        model=model or next((name for span in ([on] if on else spans) if (name := _model(span)) is not None), None),
        user=as_id(metadata.get("mlflow.trace.user")),
        conversation=as_id(metadata.get("mlflow.trace.session")),
    )


def _metadata(row: RawRow) -> Mapping[str, Any]:
    return as_map(first_of(_info(row), "trace_metadata", "request_metadata"))


def _model(span: object) -> str | None:
    """Return the model that a span called."""
    return as_text(as_json(at(span, "attributes", "mlflow.llm.model")))


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    return unrated_calls(lambda: _calls(export))


def _calls(export: Export) -> Iterator[Call]:
    for where, row in export.rows():
        if not isinstance(row, Mapping):
            continue
        info, metadata = _info(row), _metadata(row)
        kinds = (str(at(each, "source", "source_type")) for each in _assessments(row))
        root = next(filter(is_root, _spans(row)), {})
        yield Call(
            where=where,
            is_rated=any(kind.removeprefix("SOURCE_TYPE_").upper() == "HUMAN" for kind in kinds),
            answer=as_id(info.get("trace_id")),
            name=as_text(at(info, "tags", "mlflow.traceName")) or as_text(root.get("name")),
            is_first=True,
            user=as_id(metadata.get("mlflow.trace.user")),
            conversation=as_id(metadata.get("mlflow.trace.session")),
            time=first_of(info, "request_time", "request_time_ms", "timestamp_ms"),
            read=partial(_answered, row, None),
        )


MLFLOW = Importer(
    name="mlflow",
    product="MLflow",
    files="one file of traces with assessments",
    how=_HOW,
    votes="true up, false down; numbers of 0 and 1 are thumbs, others points; an expected answer is a correction",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
