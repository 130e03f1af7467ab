"""
Langfuse: scores, joined with the calls, steps and traces that they are on.

Scores of the API and of annotators count as people's, those of evaluators (EVAL) as a model's. BOOLEAN is 1 or 0;
NUMERIC is a thumb or points by all values of its name (`scale`); CATEGORICAL is its word; TEXT is a note. A CORRECTION
is the answer that a person wrote instead; Langfuse calls them all "output", so that they have no metric here.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, alike, unrated_calls
from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.contract import Imported, Importer, NotShown, Rated, Unrated
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.langfuse_answers import (
    Scored,
    answer_keys,
    calls_of,
    find_answer,
    key_of_trace,
    wanted_keys,
)
from haloes.feedback.importers.langfuse_rows import GivenScore, flat, is_score, read_score
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, Verdict, thumb_on
from haloes.feedback.importers.values import as_id, as_text, first_of, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_HOW = (
    "`haloes import langfuse --since 30d --out FILE`, or a folder with an export to blob storage (scores/ and "
    "observations_v2/), or with the UI's exports of the tables Scores, Observations and Traces"
)
_SCORES = (
    ("traceId", "dataType", "source"),
    ("trace_id", "data_type", "source"),
    ("projectId", "dataType", "source", "value"),
)
_ANSWERS = (
    ("trace_id", "parent_observation_id", "type"),
    ("traceId", "startTime", "type"),
    ("id", "input", "output", "bookmarked"),
    ("id", "userId", "observations", "scores"),
)
"""Columns of which a file with scores, or with what they are on, has one set."""


def _recognise(export: Export) -> str | None:
    scores, answers = _part(export, _SCORES), _part(export, _ANSWERS)
    if not answers.files:
        if scores.files:
            raise export.unreadable(
                what="these are scores of Langfuse without the observations or traces that they are on", how=_HOW
            )
        return None
    if not scores.files:
        if any(is_score(row) for row in _inside(answers)):
            return "Langfuse traces with their scores (older API)"
        raise export.unreadable(what="these are traces or observations of Langfuse without their scores", how=_HOW)
    if scores.with_columns("data_type"):
        return "Langfuse export to blob storage"
    if scores.with_columns("authorUserName"):
        return "Langfuse export from the UI"
    if scores.with_columns("traceId"):
        return "Langfuse API (scores before version 3)"
    if not scores.with_columns("subject"):
        raise export.unreadable(
            what="these scores of Langfuse do not say what they are on; ask for fields=details,subject,annotation",
            how=_HOW,
        )
    return "Langfuse API (scores of version 3)"


def _part(export: Export, signs: Iterable[tuple[str, ...]]) -> Export:
    """Return the files that have one of several sets of columns."""
    files = tuple(file for file in export.files if any(file.has(*columns) for columns in signs))
    return Export(export.path, files)


def _inside(export: Export) -> Iterator[RawRow]:
    """Yield the first rows, and what lies in them."""
    rows = flat((Where(export.path, 0), row) for row in export.head())
    return (row for _, row in rows if not isinstance(row, RefusalError))


@dataclass(slots=True)
class _Overview:
    """What only all scores together tell."""

    scales: Scales = field(default_factory=Scales)
    wanted: set[str | None] = field(default_factory=set)
    """Keys of the rows that scores are on."""


def _read(export: Export) -> Iterator[Imported]:
    # Traces of the older API repeat their scores: those in files of their own are all that are meant.
    scored = _part(export, _SCORES)
    scored = scored if scored.files else _part(export, _ANSWERS)
    overview = _Overview()
    for where, row in _scores(scored):
        if not isinstance(row, RefusalError):
            score = read_score(row, where)
            overview.wanted.update(wanted_keys(score))
            if score.kind == "NUMERIC":
                overview.scales.add(score.scale, score.value)
    overview.wanted.discard(None)
    with Lookup(flat(_part(export, _ANSWERS).rows()), answer_keys, wanted=overview.wanted) as found:
        yield from each_row(_scores(scored), lambda row, where: _vote(read_score(row, where), overview.scales, found))
        yield from found.faults


def _scores(export: Export) -> Iterator[PlacedRow]:
    """Yield the scores of files with scores, and those inside of traces; unreadable rows of files of scores too."""
    for file in export.files:
        of_scores = any(file.has(*columns) for columns in _SCORES)
        for where, row in flat(file.rows()):
            if isinstance(row, RefusalError):
                if of_scores:
                    yield where, row
            elif is_score(row):
                yield where, row


def _vote(score: GivenScore, scales: Scales, found: Lookup) -> Iterator[Imported]:
    voter = score.voter
    if score.other is not None or (score.trace is None and score.observation is None):
        on = f"a whole {score.other}" if score.other else "nothing that it names"
        raise RefusalError("not a verdict", f"the score {short_repr(score.name)} is on {on}, and not on an answer")
    if score.kind == "TEXT":
        raise RefusalError("not a verdict", f"the score {short_repr(score.name)} is a text, which says no verdict")
    is_correction = score.kind == "CORRECTION"
    if is_correction and score.text is None:
        raise RefusalError("no verdict", "the correction is empty")
    verdict = Verdict() if is_correction else _verdict(score, scales)
    answer = find_answer(score, found)
    yield Rated(
        where=score.where,
        messages=answer.before,
        completion=answer.answer,
        label=verdict.label,
        score=verdict.score,
        word=verdict.word,
        correction=read_call(None, score.text)[1] if is_correction else (),
        voter=voter,
        metric=None if is_correction else score.name,
        answer=score.observation or score.trace,
        user=score.author or score.user or answer.user,
        conversation=score.session or answer.session,
        id=as_id(score.row.get("id")),
        model=answer.model,
        time=first_of(score.row, "timestamp", "updatedAt", "updated_at"),
        comment=as_text(score.row.get("comment")),
        finished=answer.finished,
        tools=answer.tools,
    )


def _verdict(score: GivenScore, scales: Scales) -> Verdict:
    if score.kind == "BOOLEAN":
        value = score.text if score.value is None else score.value
        label = thumb(value, up=(1,), down=(0,))
        return Verdict() if label is None else thumb_on(score.name, label)
    if score.kind == "NUMERIC":
        return scales.read(score.scale, score.value)
    if score.kind == "CATEGORICAL":
        if score.text is not None:
            return Verdict(word=score.text)
        raise RefusalError("not a verdict", f"the category of the score {short_repr(score.name)} has no name")
    raise RefusalError("not a verdict", f"the score {short_repr(score.name)} is of type {short_repr(score.kind)}")


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    scored = _part(export, _SCORES)
    scored = scored if scored.files else _part(export, _ANSWERS)
    rated = Scored()
    for where, row in _scores(scored):
        if not isinstance(row, RefusalError) and str(row.get("source")).upper() != "EVAL":
            rated.add(read_score(row, where))
    answers = _part(export, _ANSWERS)
    # What is like the rated calls is known from names alone; most exports are large, and few hold any.
    wanted, num_others = set[str | None](), 0
    for call in alike(lambda: calls_of(flat(answers.rows()), None, rated)):
        if isinstance(call, NotShown):
            num_others += 1
        else:
            wanted.add(key_of_trace(call.answer))
    yield from itertools.repeat(NotShown(Where(export.path, 0)), num_others)
    if wanted:
        with Lookup(flat(answers.rows()), answer_keys, wanted=wanted) as found:
            items = unrated_calls(lambda: calls_of(flat(answers.rows()), found, rated))
            yield from (item for item in items if isinstance(item, Unrated))


LANGFUSE = Importer(
    name="langfuse",
    product="Langfuse",
    files="a folder with scores, and with the observations or traces that they are on",
    how=_HOW,
    votes="BOOLEAN 1 up, 0 down; numbers of 0 and 1 are thumbs, others points; a category's word; CORRECTION is a pair",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)
