"""
Arize Phoenix: annotations of spans (`get_span_annotations`, as rows or as a data frame) and the spans, in one folder.

Spans may also carry their annotations as attributes (OpenInference's "annotations.0.annotation.label").
"""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, Call, unrated_calls
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, NotShown, Rated, Unrated, Voter
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, Verdict, as_word, check_agreed, scales_of
from haloes.feedback.importers.spans import attributes_of, is_root, numbered, read_span, span_id, whose
from haloes.feedback.importers.values import as_id, as_text, at, first_of
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_HOW = "client.spans.get_span_annotations_dataframe(...) and get_spans_dataframe() as Parquet or JSON, in one folder"
_VOTERS: dict[str, Voter] = {"HUMAN": "human", "LLM": "model", "CODE": "code"}


def _recognise(export: Export) -> str | None:
    if any(_own(row) for row in export.head()):
        return "OpenInference spans with annotations"
    if export.with_columns("annotator_kind", "span_id") is None:
        return None
    if _spans(export) is None:
        raise export.unreadable(what="these are annotations of Arize Phoenix without the spans", how=_HOW)
    return "Arize Phoenix annotations and spans"


def _spans(export: Export) -> Export | None:
    found = tuple(file for file in export.files if any(attributes_of(row) for row in file.head))
    return Export(export.path, found) if found else None


def _read(export: Export) -> Iterator[Imported]:
    spans = _spans(export) or export
    votes = export.with_columns("annotator_kind", "span_id")
    if votes is None:
        scales = scales_of(_values(row for _, row in _own_rows(spans) if isinstance(row, Mapping)))
        yield from each_row(spans.rows(), lambda row, where: _own_votes(row, where, scales))
        return
    wanted = {as_id(row.get("span_id")) for _, row in votes.rows() if isinstance(row, Mapping)}
    scales = scales_of(_values(row for _, row in votes.rows() if isinstance(row, Mapping)))
    with Lookup(spans.rows(), lambda row: [span_id(row)], wanted=wanted - {None}) as found:
        yield from each_row(votes.rows(), lambda row, where: _vote(row, where, found, scales))
        yield from found.faults


def _values(rows: Iterator[RawRow]) -> Iterator[tuple[str | None, object]]:
    for row in rows:
        yield _name(row), _result(row, "score")


def _own(span: RawRow) -> list[Mapping[str, Any]]:
    """Return the annotations among a span's attributes, named as rows of annotations are."""
    found = numbered(attributes_of(span), "annotations")
    return [
        {key.removeprefix("annotation."): value for key, value in {**each, **_inside(each)}.items()} for each in found
    ]


def _inside(annotation: Mapping[str, Any]) -> Mapping[str, Any]:
    inside = annotation.get("annotation")
    return inside if isinstance(inside, Mapping) else {}


def _own_rows(spans: Export) -> Iterator[PlacedRow]:
    for where, span in spans.rows():
        if isinstance(span, Mapping):
            yield from ((where, each) for each in _own(span))


def _own_votes(span: RawRow, where: Where, scales: Scales) -> Iterator[Imported]:
    for number, row in enumerate(_own(span)):
        named = {"id": f"{span_id(span)}/{number}", **row}
        try:
            yield _rated(named, where, span, scales)
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def _vote(row: RawRow, where: Where, spans: Lookup, scales: Scales) -> Iterator[Imported]:
    identity = as_id(row.get("span_id"))
    found = spans.rows(identity)
    if not found:
        raise RefusalError("answer not in the export", f"the span {short_repr(identity)} is not among the spans")
    yield _rated(row, where, found[0][1], scales)


def _rated(row: RawRow, where: Where, span: Mapping[str, Any], scales: Scales) -> Rated:
    kind = str(row.get("annotator_kind") or "HUMAN").upper()
    if kind not in _VOTERS:
        raise RefusalError("not a verdict", f"the annotator is {short_repr(kind)}, neither HUMAN, LLM nor CODE")
    if _name(row) == "note":
        raise RefusalError("not a verdict", "a note says neither good nor bad")
    answered = read_span(span)
    verdict = _verdict(row, scales)
    return Rated(
        where=where,
        messages=answered.before,
        completion=answered.answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        voter=_VOTERS[kind],
        metric=_name(row),
        answer=span_id(span),
        user=as_id(row.get("user_id")) or as_text(row.get("identifier")),
        conversation=answered.conversation,
        id=as_id(row.get("id")),
        model=answered.model,
        time=first_of(row, "updated_at", "created_at"),
        comment=as_text(_result(row, "explanation")),
    )


def _verdict(row: RawRow, scales: Scales) -> Verdict:
    """Return what the score says, or, where there is none, the label's word."""
    score, word = _result(row, "score"), _result(row, "label")
    if score is not None:
        verdict = scales.read(_name(row), score)
        check_agreed(verdict, word)
        return verdict
    return Verdict() if word is None or word == "" else Verdict(word=as_word(word))


def _name(row: RawRow) -> str | None:
    return as_text(first_of(row, "name", "annotation_name"))


def _result(row: RawRow, part: str) -> Any:
    """Return a part of the result, which stands in an object, under a dotted name, or by itself."""
    inside = at(row, "result", part)
    return inside if inside is not None else first_of(row, f"result.{part}", part)


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    votes = export.with_columns("annotator_kind", "span_id") or Export(export.path, ())
    rated = {as_id(row.get("span_id")) for _, row in votes.rows() if isinstance(row, Mapping) and _is_persons(row)}
    return unrated_calls(lambda: _calls(_spans(export) or export, rated - {None}))


def _is_persons(row: RawRow) -> bool:
    return str(row.get("annotator_kind") or "HUMAN").upper() == "HUMAN" and _name(row) != "note"


def _calls(spans: Export, rated: Collection[str | None]) -> Iterator[Call]:
    for where, span in spans.rows():
        if isinstance(span, Mapping) and (given := attributes_of(span)):
            user, conversation = whose(given)
            yield Call(
                where=where,
                is_rated=span_id(span) in rated or any(map(_is_persons, _own(span))),
                answer=span_id(span),
                name=as_text(span.get("name")),
                is_first=is_root(span),
                user=user,
                conversation=conversation,
                time=span.get("start_time"),
                read=partial(read_span, span),
            )


PHOENIX = Importer(
    name="phoenix",
    product="Arize Phoenix",
    files="a folder with annotations and spans, or OpenInference spans with annotations",
    how=_HOW,
    votes="scores of 0 and 1 are thumbs, other numbers points; else the label's word (good, bad, up, down ...)",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
