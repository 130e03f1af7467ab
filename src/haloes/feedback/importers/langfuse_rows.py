"""
Rows of Langfuse, in whatever way they were exported: scores, observations and traces under one set of names.

The API writes camelCase, exports to blob storage snake_case, and the older API puts scores and observations into their
trace. Version 3 of the scores has a value of any kind and a `subject`; those before it have `value` and `stringValue`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.contract import Voter
from haloes.feedback.importers.export import PlacedRow
from haloes.feedback.importers.values import as_id, as_list, as_text, at, first_of
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_VOTERS: dict[str, Voter] = {"API": "human", "ANNOTATION": "human", "EVAL": "model"}


def flat(rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Yield each row, and behind a trace the observations and scores that the older API puts into it."""
    for where, row in rows:
        yield where, row
        if not isinstance(row, RefusalError):
            for name in ("observations", "scores"):
                for item in as_list(row[name]) if name in row else ():
                    if isinstance(item, dict):
                        yield where, item


def is_score(row: RawRow) -> bool:
    """Return whether a row is a score."""
    if "input" in row or "output" in row:
        return False
    return "dataType" in row or "data_type" in row or {"name", "value", "source"} <= row.keys()


def is_observation(row: RawRow) -> bool:
    """Return whether a row is an observation: a step of a trace, such as a call of a model."""
    return ("traceId" in row or "trace_id" in row) and "type" in row and not is_score(row)


def is_trace(row: RawRow) -> bool:
    """Return whether a row is a trace."""
    return "id" in row and ("input" in row or "output" in row) and not ("traceId" in row or "trace_id" in row)


def trace_of(row: RawRow) -> str | None:
    """Return the id of the trace that an observation is in."""
    return as_id(first_of(row, "traceId", "trace_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenScore:
    """A score, whatever the version."""

    row: RawRow
    where: Where
    kind: str
    """NUMERIC, BOOLEAN, CATEGORICAL, TEXT or CORRECTION; of the first versions, which do not say it, NUMERIC."""
    name: str | None
    value: object
    """The number or boolean; of version 3 perhaps the text."""
    text: str | None
    """The category, the text or the correction."""
    trace: str | None
    observation: str | None
    other: str | None
    """What else the score is on: "session" or "experiment"."""

    @property
    def voter(self) -> Voter:
        """Return whose score it is. Raises RefusalError where its source is none of Langfuse's."""
        source = self.row.get("source")
        if not isinstance(source, str) or source.upper() not in _VOTERS:
            said = f"the score's source is {short_repr(source)}, none of {', '.join(_VOTERS)}"
            raise RefusalError("not a verdict", said)
        return _VOTERS[source.upper()]

    @property
    def scale(self) -> str:
        """Return the name under which values of one scale stand: a judge's may have another than people's."""
        return f"{self.row.get('source')} {self.name}"

    @property
    def author(self) -> str | None:
        """Return who gave the score, where the score says so."""
        names = ("authorUserId", "author_user_id", "authorUserName")
        return as_id(first_of(self.row, *names)) or as_id(at(self.row, "metadata", "user_id"))

    @property
    def user(self) -> str | None:
        """Return the trace's user, where the score says it."""
        return as_id(first_of(self.row, "userId", "user_id")) or as_id(at(self.row, "trace", "userId"))

    @property
    def session(self) -> str | None:
        """Return the trace's session, where the score says it."""
        return as_id(first_of(self.row, "sessionId", "session_id")) or as_id(at(self.row, "trace", "sessionId"))


def read_score(row: RawRow, where: Where) -> GivenScore:
    """Return a score of any version."""
    subject = row.get("subject")
    on, named = at(subject, "kind"), as_id(at(subject, "id"))
    trace = trace_of(row) or as_id(at(subject, "traceId")) or (named if on == "trace" else None)
    observation = as_id(first_of(row, "observationId", "observation_id")) or (named if on == "observation" else None)
    value = row.get("value")
    text = first_of(row, "stringValue", "string_value", "longStringValue", "long_string_value")
    session, experiment = first_of(row, "sessionId", "session_id"), first_of(row, "datasetRunId", "dataset_run_id")
    other = "session" if session else "experiment" if experiment else None
    return GivenScore(
        row=row,
        where=where,
        kind=str(first_of(row, "dataType", "data_type") or "NUMERIC").upper(),
        name=as_text(row.get("name")),
        value=value,
        text=as_text(text) or as_text(value),
        trace=trace,
        observation=observation,
        other=on if on in ("session", "experiment") else None if trace or observation else other,
    )
