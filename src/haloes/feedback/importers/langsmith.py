"""
LangSmith: feedback (`list_feedback`) and the runs that it is about, in one folder.

A score is a thumb or points by all scores of its key (`scale`); a key whose configuration says `is_lower_score_better`
is turned round. A correction is the answer that a person wrote instead. Feedback of one `feedback_group_id` on several
runs compares them. Feedback on a chain whose inputs and outputs are no chat is on the last model call in it.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, unrated_calls
from haloes.feedback.importers.alike import Call as _Run
from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.contract import Compared, Imported, Importer, LeftOut, NotShown, Rated, Unrated, Voter
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, Verdict, check_agreed, thumb_on
from haloes.feedback.importers.spans import Answered
from haloes.feedback.importers.values import as_id, as_list, as_map, as_number, as_text, at, first_of, is_true
from haloes.feedback.labels import known_label
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.times import seconds_of
from haloes.records import Message, Where

_HOW = "client.list_feedback(...) into feedback.jsonl and client.list_runs(...) into runs.jsonl, in one folder"
_FEEDBACK, _RUN = ("run_id", "key", "score"), ("inputs", "outputs", "run_type")


def _recognise(export: Export) -> str | None:
    feedback, runs = export.with_columns(*_FEEDBACK), export.with_columns(*_RUN)
    if feedback is None:
        if runs is not None and runs.with_columns("feedback_stats"):
            raise export.unreadable(
                what="these are runs of LangSmith, which have only averages of the feedback (feedback_stats)", how=_HOW
            )
        return None
    if runs is None:
        raise export.unreadable(what="this is feedback of LangSmith without the runs that it is about", how=_HOW)
    return "LangSmith feedback and runs"


@dataclass(slots=True)
class _Overview:
    """What only all feedback together tells."""

    scales: Scales = field(default_factory=Scales)
    lower_is_better: set[str] = field(default_factory=set)
    """Keys of which a low score is good."""
    runs: set[str | None] = field(default_factory=set)
    groups: dict[str, int] = field(default_factory=dict)
    """Comparison -> how many rows of feedback it has."""
    told: set[str] = field(default_factory=set)
    """Comparisons that were read already, at their first row."""


def _read(export: Export) -> Iterator[Imported]:
    feedback, runs = (
        export.with_columns(*_FEEDBACK) or Export(export.path, ()),
        export.with_columns(*_RUN) or Export(export.path, ()),
    )
    overview = _overview(export, feedback)
    with (
        Lookup(
            _each_run(runs.rows()), lambda row: [as_id(row.get("id")), as_id(row.get("trace_id"))], wanted=overview.runs
        ) as calls,
        Lookup(feedback.rows(), lambda row: [_group(row)], wanted=set(overview.groups)) as groups,
    ):
        yield from each_row(feedback.rows(), lambda row, where: _one(row, where, overview, calls, groups))
        yield from calls.faults


def _each_run(rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Yield runs one by one, also those that stand in another one (`child_runs`)."""
    for where, row in rows:
        waiting: list[RawRow | RefusalError] = [row]
        while waiting:
            run = waiting.pop()
            yield where, run
            inside = as_list(run.get("child_runs")) if isinstance(run, Mapping) else []
            waiting += [each for each in inside[::-1] if isinstance(each, Mapping)]


def _overview(export: Export, feedback: Export) -> _Overview:
    overview = _Overview()
    for _, row in (export.with_columns("feedback_key", "is_lower_score_better") or Export(export.path, ())).rows():
        if isinstance(row, Mapping) and is_true(row.get("is_lower_score_better")):
            overview.lower_is_better.add(str(row.get("feedback_key")))
    for _, row in feedback.rows():
        if not isinstance(row, Mapping):
            continue
        key = as_text(row.get("key"))
        overview.scales.add(key, row.get("score"))
        for end in ("min", "max"):  # of five stars all may be 1 in this export, and bad
            overview.scales.add(key, at(row, "feedback_config", end))
        if is_true(at(row, "feedback_config", "is_lower_score_better")):
            overview.lower_is_better.add(key or "")
        overview.runs.add(as_id(row.get("run_id")))
        if (group := _group(row)) is not None:
            overview.groups[group] = overview.groups.get(group, 0) + 1
    overview.runs.discard(None)
    return overview


def _group(row: RawRow) -> str | None:
    return as_id(row.get("feedback_group_id"))


def _one(row: RawRow, where: Where, overview: _Overview, calls: Lookup, groups: Lookup) -> Iterator[Imported]:
    """Yield what a row of feedback says: of a comparison at its first row, for all of them."""
    group = _group(row)
    if group is None or overview.groups.get(group, 0) < 2:  # noqa: PLR2004  # one run is compared with nothing
        yield _rated(row, where, overview, calls)
        return
    if group not in overview.told:
        overview.told.add(group)
        yield from _compared([each for _, each in groups.rows(group)], where, overview, calls)


def _rated(row: RawRow, where: Where, overview: _Overview, calls: Lookup) -> Imported:
    key = as_text(row.get("key"))
    verdict = _verdict(row, overview)
    correction = row.get("correction")
    if verdict == Verdict() and not correction:
        return LeftOut("not a verdict", where, f"the feedback {short_repr(key)} has neither a score nor a correction")
    call = _call(as_id(row.get("run_id")), calls)
    return Rated(
        where=where,
        messages=call.before,
        completion=call.answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        correction=read_call(None, correction)[1] if correction else (),
        voter=_voter(row),
        metric=key,
        answer=as_id(row.get("run_id")),
        user=_user(row, call),
        conversation=call.conversation,
        id=as_id(row.get("id")),
        model=call.model,
        time=first_of(row, "modified_at", "created_at"),
        comment=as_text(row.get("comment")),
    )


def _verdict(row: RawRow, overview: _Overview) -> Verdict:
    """Return what the score says, or, where there is none, a word in the value."""
    key, value = as_text(row.get("key")) or "", row.get("value")
    if row.get("score") is None:
        word = value if isinstance(value, str) else at(value, "label")
        # Free-form values are notes as often as verdicts.
        return Verdict(word=as_text(word)) if known_label(word) is not None else Verdict()
    verdict = overview.scales.read_upwards(key, row["score"])
    if key in overview.lower_is_better:
        return Verdict(
            label=None if verdict.label is None else not verdict.label,
            score=None if verdict.score is None else -verdict.score,
            word=verdict.word,
        )
    # Of a category the value is the word, and the score whatever number the category has.
    check_agreed(verdict, value if isinstance(value, str) else at(value, "label"))
    return verdict if verdict.label is None else thumb_on(key, verdict.label)


def _compared(members: list[dict[str, Any]], where: Where, overview: _Overview, calls: Lookup) -> Iterator[Imported]:
    """Yield a comparison of every two neighbours in the order of a group's scores."""
    turned = as_text(members[0].get("key")) in overview.lower_is_better
    scored = [(as_number(each.get("score")), each) for each in members]
    ranked = [(-score if turned else score, each) for score, each in scored if score is not None]
    ranked.sort(key=lambda pair: -pair[0])
    if len(ranked) < len(members):
        yield LeftOut(
            "no verdict", where, f"{len(members) - len(ranked)} of {len(members)} compared runs have no score"
        )
    for (better, chosen), (worse, rejected) in itertools.pairwise(ranked):
        if better == worse:
            yield LeftOut("tie", where, f"two compared runs have the same score, {better:g}")
            continue
        one, other = (_call(as_id(each.get("run_id")), calls) for each in (chosen, rejected))
        yield Compared(
            where=where,
            messages=one.before,
            chosen=one.answer,
            rejected=other.answer,
            voter=_voter(chosen),
            metric=as_text(chosen.get("key")),
            answer=" ".join(sorted(str(each.get("run_id")) for each in (chosen, rejected))),
            user=_user(chosen, one),
            conversation=one.conversation,
            id=as_id(chosen.get("id")),
            chosen_model=one.model,
            rejected_model=other.model,
            time=first_of(chosen, "modified_at", "created_at"),
            comment=as_text(chosen.get("comment")),
        )


@dataclass(frozen=True, slots=True)
class _Call:
    before: tuple[Message, ...]
    answer: tuple[Message, ...]
    conversation: str | None
    user: str | None
    model: str | None


def _call(run: str | None, calls: Lookup) -> _Call:
    """Return the call that feedback is on; RefusalError where neither the run nor a model call in it can be read."""
    found = [row for _, row in calls.rows(run)]
    own = [row for row in found if as_id(row.get("id")) == run]
    inside = [row for row in found if row.get("run_type") == "llm" and as_id(row.get("id")) != run]
    inside.sort(key=lambda row: seconds_of(row.get("start_time")) or 0.0)
    if not own:
        raise RefusalError("answer not in the export", f"the run {short_repr(run)} is not among the runs")
    if own[0].get("error"):
        raise RefusalError("unfinished answer", "the run failed")
    try:
        before, answer = read_call(own[0].get("inputs"), own[0].get("outputs"))
    except RefusalError:
        if not inside:
            raise
        before, answer = read_call(inside[-1].get("inputs"), inside[-1].get("outputs"))
    user, conversation = _whose(own[0])
    models = [_model(row) for row in (*inside[::-1], *own)]
    return _Call(
        before=before,
        answer=answer,
        conversation=conversation,
        user=user,
        model=next(filter(None, models), None),
    )


def _model(run: RawRow) -> str | None:
    named = at(run, "extra", "metadata", "ls_model_name") or at(run, "extra", "invocation_params", "model")
    return as_text(named)


def _voter(row: RawRow) -> Voter:
    """Return whose feedback it is: of a run that evaluates it is a program's, whatever its type says."""
    source = as_map(row.get("feedback_source"))
    if source.get("type") in ("model", "auto_eval"):
        return "model"
    return "code" if at(source, "metadata", "__run") is not None else "human"


def _user(row: RawRow, call: _Call) -> str | None:
    source = as_map(row.get("feedback_source"))
    return as_id(source.get("user_id")) or as_id(at(source, "metadata", "user_id")) or call.user


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    nothing = Export(export.path, ())
    rows = ((export.with_columns(*_FEEDBACK) or nothing).rows(), (export.with_columns(*_RUN) or nothing).rows)
    rated = {as_id(row.get("run_id")) for _, row in rows[0] if isinstance(row, Mapping) and _voter(row) == "human"}
    return unrated_calls(lambda: _runs(rows[1](), rated - {None}))


def _runs(rows: Iterable[PlacedRow], rated: Collection[str | None]) -> Iterator[_Run]:
    for where, run in _each_run(rows):
        if isinstance(run, Mapping) and not run.get("error"):
            user, conversation = _whose(run)
            yield _Run(
                where=where,
                is_rated=as_id(run.get("id")) in rated,
                answer=as_id(run.get("id")),
                name=as_text(run.get("name")),
                is_first=not run.get("parent_run_id"),
                user=user,
                conversation=conversation,
                time=run.get("start_time"),
                read=partial(_answered, run),
            )


def _answered(run: RawRow) -> Answered:
    before, answer = read_call(run.get("inputs"), run.get("outputs"))
    return Answered(before, answer, _model(run), *_whose(run))


def _whose(run: RawRow) -> tuple[str | None, str | None]:
    """Return the user and the conversation that a run names."""
    metadata = as_map(at(run, "extra", "metadata"))
    return as_id(metadata.get("user_id")), as_id(first_of(metadata, "thread_id", "session_id", "conversation_id"))


LANGSMITH = Importer(
    name="langsmith",
    product="LangSmith",
    files="a folder with feedback and runs",
    how=_HOW,
    votes="scores of 0 and 1 are thumbs, other numbers points; corrections and groups of feedback are comparisons",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
