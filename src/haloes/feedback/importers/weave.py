"""
Weights & Biases Weave: feedback (reactions, notes, custom) and the calls that it is about, in one folder.

A reaction 👍 or 👎 is a thumb. Feedback names its call in `weave_ref` or `call_ref`, whose last part is the call's id.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import partial

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, Call, unrated_calls
from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.contract import Imported, Importer, NotShown, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import as_word
from haloes.feedback.importers.spans import Answered
from haloes.feedback.importers.values import as_id, as_map, as_text, at, first_of
from haloes.feedback.labels import known_label
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_HOW = "client.get_feedback() and client.get_calls() as JSON lines, in one folder"
_REACTION = "wandb.reaction."


def _recognise(export: Export) -> str | None:
    feedback = export.with_columns("feedback_type", "payload", "weave_ref")
    if feedback is None:
        return None
    if _calls(export) is None:
        raise export.unreadable(what="this is feedback of Weave without the calls that it is about", how=_HOW)
    return "Weave feedback and calls"


def _calls(export: Export) -> Export | None:
    return export.with_columns("op_name", "inputs", "output")


def _read(export: Export) -> Iterator[Imported]:
    feedback = export.with_columns("feedback_type", "payload", "weave_ref") or export
    calls = _calls(export) or export
    wanted = {_call_id(row) for _, row in feedback.rows() if isinstance(row, Mapping)} - {None}
    with Lookup(calls.rows(), lambda row: [as_id(row.get("id"))], wanted=wanted) as found:
        yield from each_row(feedback.rows(), lambda row, where: _vote(row, where, found))
        yield from found.faults


def _call_id(row: RawRow) -> str | None:
    reference = as_text(first_of(row, "call_ref", "weave_ref"))
    return None if reference is None else reference.rstrip("/").rpartition("/")[2] or None


def _vote(row: RawRow, where: Where, calls: Lookup) -> Iterator[Imported]:
    kind = str(row.get("feedback_type"))
    if not kind.startswith(_REACTION):
        raise RefusalError("not a verdict", f"feedback of type {short_repr(kind)} is no reaction")
    word = as_word(first_of(as_map(row.get("payload")), "emoji", "alias"))
    identity = _call_id(row)
    found = calls.rows(identity)
    if not found:
        raise RefusalError("answer not in the export", f"the call {short_repr(identity)} is not among the calls")
    call = found[0][1]
    if call.get("exception"):
        raise RefusalError("unfinished answer", "the call failed")
    before, answer = read_call(call.get("inputs"), call.get("output"))
    yield Rated(
        where=where,
        messages=before,
        completion=answer,
        word=word,
        # One reaction does not replace another, as a thumb does: eyes after a thumb up take nothing back.
        answer=identity if known_label(word) is not None else None,
        user=as_text(row.get("creator")) or as_id(row.get("wb_user_id")),
        conversation=as_id(call.get("thread_id")),
        id=as_id(row.get("id")),
        model=_model(call),
        time=row.get("created_at"),
    )


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    feedback = export.with_columns("feedback_type", "payload", "weave_ref") or export
    rows = (row for _, row in feedback.rows() if isinstance(row, Mapping))
    rated = {_call_id(row) for row in rows if str(row.get("feedback_type")).startswith(_REACTION)} - {None}
    return unrated_calls(lambda: _each_call(_calls(export) or export, rated))


def _each_call(calls: Export, rated: Collection[str | None]) -> Iterator[Call]:
    for where, row in calls.rows():
        if isinstance(row, Mapping) and not row.get("exception"):
            yield Call(
                where=where,
                is_rated=as_id(row.get("id")) in rated,
                answer=as_id(row.get("id")),
                # A reference to the code ends in its version: "weave:///firm/project/op/chat:8fa2".
                name=str(row.get("op_name")).rpartition("/")[2].partition(":")[0] or None,
                is_first=not row.get("parent_id"),
                user=None,
                conversation=as_id(row.get("thread_id")),
                time=row.get("started_at"),
                read=partial(_answered, row),
            )


def _answered(call: RawRow) -> Answered:
    before, answer = read_call(call.get("inputs"), call.get("output"))
    return Answered(before, answer, _model(call), None, None)


def _model(call: RawRow) -> str | None:
    return as_text(at(call, "inputs", "model")) or as_text(next(iter(as_map(at(call, "summary", "usage"))), None))


WEAVE = Importer(
    name="weave",
    product="Weights & Biases Weave",
    files="a folder with feedback and calls",
    how=_HOW,
    votes="the reactions 👍 up and 👎 down; feedback.words says what others mean",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
