"""
Opik: traces with their feedback scores (`search_traces`, or `opik export`).

The value of a score is the mean over its authors; where `value_by_author` tells them apart, each has a vote.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, Call, unrated_calls
from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, NotShown, Rated, Unrated, Voter
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, Verdict, scales_of
from haloes.feedback.importers.spans import Answered
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of
from haloes.feedback.labels import known_label
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_VOTERS: dict[str, Voter] = {"ui": "human", "sdk": "human", "online_scoring": "model"}


def _recognise(export: Export) -> str | None:
    for row in export.head():
        scores = as_list(_trace(row).get("feedback_scores"))
        if {"input", "output"} <= _trace(row).keys() and any("value" in as_map(each) for each in scores):
            return "Opik traces"
    return None


def _trace(row: RawRow) -> Mapping[str, Any]:
    """Return the trace of a row: `opik export` writes {"trace": {...}, "spans": [...]}."""
    return as_map(row.get("trace")) or row


def _read(export: Export) -> Iterator[Imported]:
    scales = scales_of(
        (as_text(score.get("name")), score.get("value")) for _, row in export.rows() for score in _scores(row)
    )
    return each_row(export.rows(), lambda row, where: _votes(row, where, scales))


def _scores(row: object) -> Iterator[Mapping[str, Any]]:
    """Yield the scores of a trace, one for each author where they are told apart."""
    if not isinstance(row, Mapping):
        return
    for score in as_list(_trace(row).get("feedback_scores")):
        authors = as_map(at(score, "value_by_author"))
        if authors:
            yield from ({**as_map(score), **as_map(each), "created_by": author} for author, each in authors.items())
        else:
            yield as_map(score)


def _votes(row: RawRow, where: Where, scales: Scales) -> Iterator[Imported]:
    for score in _scores(row):
        try:
            yield _rated(score, _trace(row), where, scales)
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def _rated(score: Mapping[str, Any], trace: Mapping[str, Any], where: Where, scales: Scales) -> Rated:
    source = score.get("source")
    if not isinstance(source, str) or source not in _VOTERS:
        raise RefusalError(
            "not a verdict", f"the score's source is {short_repr(source)}, none of ui, sdk, online_scoring"
        )
    if trace.get("error_info"):
        raise RefusalError("unfinished answer", "the call failed")
    before, answer = read_call(trace.get("input"), trace.get("output"))
    name = as_text(score.get("name"))
    # A category has whatever number its author gave it: "good" may be 0.
    category = as_text(score.get("category_name"))
    verdict = scales.read(name, score.get("value")) if known_label(category) is None else Verdict(word=category)
    user = as_id(first_of(score, "created_by", "last_updated_by"))
    return Rated(
        where=where,
        messages=before,
        completion=answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        voter=_VOTERS[source],
        metric=name,
        answer=as_id(trace.get("id")),
        user=user,
        conversation=as_id(trace.get("thread_id")),
        id="/".join(filter(None, (as_id(trace.get("id")), name, user))) or None,
        model=_model(trace),
        time=first_of(score, "last_updated_at", "created_at"),
        comment=as_text(score.get("reason")),
    )


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    return unrated_calls(lambda: _calls(export))


def _calls(export: Export) -> Iterator[Call]:
    for where, row in export.rows():
        trace = {} if isinstance(row, RefusalError) else _trace(row)
        if not trace or trace.get("error_info"):
            continue
        scored = (score for score in _scores(row) if _VOTERS.get(str(score.get("source"))) == "human")
        yield Call(
            where=where,
            is_rated=any(score.get("value") is not None for score in scored),
            answer=as_id(trace.get("id")),
            name=as_text(trace.get("name")),
            is_first=True,
            user=None,
            conversation=as_id(trace.get("thread_id")),
            time=first_of(trace, "start_time", "created_at"),
            read=partial(_answered, trace),
        )


def _answered(trace: Mapping[str, Any]) -> Answered:
    before, answer = read_call(trace.get("input"), trace.get("output"))
    return Answered(before, answer, _model(trace), None, None)


def _model(trace: Mapping[str, Any]) -> str | None:
    return as_text(first_of(as_map(trace.get("metadata")), "model", "model_name"))


OPIK = Importer(
    name="opik",
    product="Opik",
    files="one file of traces with feedback_scores",
    how="client.search_traces(...) as JSON lines, or `opik export`",
    votes="values of 0 and 1 are thumbs, others points; scores of ui and sdk count as people's",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
