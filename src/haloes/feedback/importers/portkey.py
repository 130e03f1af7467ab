"""
Portkey: feedback (`value` from -10 to 10, with a `weight`) and the logs that it is about, in one folder.

Thumbs are usually 1 and 0, or 1 and -1; other values are points. Feedback names the trace of a log. Its weight, from 0
to 1, is the row's; feedback of weight 0 is left out.
"""

from collections.abc import Iterator, Mapping

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.contract import Imported, Importer, Rated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, scales_of
from haloes.feedback.importers.values import as_id, as_map, as_number, as_text, at, first_of
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_HOW = "Portkey › Logs › Export with request, response and trace_id, and the feedback rows, in one folder"


def _recognise(export: Export) -> str | None:
    if export.with_columns("trace_id", "value", "weight") is None:
        return None
    if _logs(export) is None:
        raise export.unreadable(what="this is feedback of Portkey without the logs that it is about", how=_HOW)
    return "Portkey feedback and logs"


def _logs(export: Export) -> Export | None:
    return export.with_columns("trace_id", "request", "response")


def _read(export: Export) -> Iterator[Imported]:
    feedback, logs = export.with_columns("trace_id", "value", "weight") or export, _logs(export) or export
    rows = (row for _, row in feedback.rows() if isinstance(row, Mapping))
    scales = scales_of((None, row.get("value")) for row in rows)
    wanted = {as_id(row.get("trace_id")) for _, row in feedback.rows() if isinstance(row, Mapping)} - {None}
    with Lookup(logs.rows(), lambda row: [as_id(row.get("trace_id"))], wanted=wanted) as found:
        yield from each_row(feedback.rows(), lambda row, where: _vote(row, where, found, scales))
        yield from found.faults


def _vote(row: RawRow, where: Where, logs: Lookup, scales: Scales) -> Iterator[Imported]:
    identity = as_id(row.get("trace_id"))
    found = logs.rows(identity)
    if not found:
        raise RefusalError("answer not in the export", f"the trace {short_repr(identity)} is not among the logs")
    log = found[-1][1]
    request, response = (as_map(log.get(name)) for name in ("request", "response"))
    # The gateway logs a request with its body inside, or the body alone.
    before, answer = read_call(request.get("body") or request, response.get("body") or response)
    verdict = scales.read(None, row.get("value"))
    yield Rated(
        where=where,
        messages=before,
        completion=answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        weight=_weight(row.get("weight")),
        answer=identity,
        user=as_id(at(row, "metadata", "_user")) or as_id(at(log, "metadata", "_user")),
        id=as_id(first_of(row, "id", "feedback_id")),
        model=as_text(first_of(log, "ai_model", "model")) or as_text(response.get("model")),
        time=first_of(row, "created_at", "last_updated_at"),
        comment=as_text(at(row, "metadata", "comment")),
    )


def _weight(value: object) -> float:
    """Return how much feedback counts; without a weight it counts whole."""
    weight = 1.0 if value is None or value == "" else as_number(value)
    if weight == 0:
        raise RefusalError("no verdict", "the feedback has the weight 0")
    if weight is None or not 0 < weight <= 1:
        raise RefusalError("weight", f"the weight {short_repr(value)} is no number from 0 to 1", column="weight")
    return weight


PORTKEY = Importer(
    name="portkey",
    product="Portkey",
    files="a folder with feedback and logs",
    how=_HOW,
    votes="values of 0 and 1, or -1 and 1, are thumbs, others points; the weight is the row's, and 0 is left out",
    recognise=_recognise,
    read=_read,
)
