"""Read a feedback file of any format and container as records: row by row, as often as needed."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from os import fspath
from typing import Any

from haloes.errors import DataError
from haloes.feedback import column_guess as guess
from haloes.feedback.columns import columns_option, listed, nearest_hint, rename
from haloes.feedback.containers import Container, NumberedRow, open_container
from haloes.feedback.fields import RawRow
from haloes.feedback.formats.table import FORMATS
from haloes.feedback.formats.unpaired import UNPAIRED
from haloes.feedback.formats.unsupported import recognise_export
from haloes.feedback.importers.contract import Options
from haloes.feedback.importers.reader import ExportReader, cannot_reweight, find_reader
from haloes.feedback.importers.table import IMPORTERS
from haloes.feedback.personal import scrub_rows
from haloes.feedback.preferences import preference_scale
from haloes.feedback.proposals import TRIED_ROWS, advice_lines
from haloes.feedback.reach import Reach
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.row_reader import Reading, RowReader, make_reader
from haloes.feedback.sessions import Sessions, parse_order, read_sessions
from haloes.feedback.system import put_system_first, read_system
from haloes.feedback.turned_round import check_two_answers
from haloes.progress.contract import Progress
from haloes.records import Record, Where, memory_name
from haloes.results import ShownAndRated

_PROBED_ROWS = 100


@dataclass(frozen=True, slots=True)
class FeedbackSource:
    """
    A source of feedback: each iteration reads it anew, with a few rows at a time in memory.

    It yields `Feedback`, `Pair` and `Refusal` records in the order of the rows, each with its place. The first rows
    are examined on creation, so that a file that is wrong as a whole fails before anything is done with it.

    Raises:
        DataError: There is no such file, it is empty or not readable, no format fits it, or the columns that are
            mapped do not exist. The message says what was seen and what to do.
    """

    path: str
    """A file, a folder of `datasets.save_to_disk`, or the name of a dataset on the hub (where no such path exists)."""
    format: str | None = None
    """Name of a format or of an importer; None: detected from the first rows."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """Our name -> the file's column, or None to leave out the column of that name."""
    split: str = "train"
    """Name of the split, for a dataset that has several."""
    preference_scale: Mapping[str, Any] | None = None
    """What the values of a comparison's preference mean (`preferences.preference_scale`); None: names say it."""
    sessions: str | None = None
    """The column by which the rows of a conversation are put in order, so that earlier ones become the history of later
    ones; None: each row stands alone."""
    options: Options = field(default_factory=Options)
    """What the user says of a tool's export: whose verdicts count, and on what."""
    system: str | None = None
    """A file with the system prompt, for rows that have none; None: they are trained without."""
    scrub: bool = False
    """Whether personal data in the texts is replaced by placeholders (`personal`)."""
    scrubbed: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)
    """What the last reading replaced, by kind."""
    reader: RowReader | ExportReader = field(init=False, repr=False, compare=False)
    """Reads the rows."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", fspath(self.path))
        if self.system is not None:
            read_system(self.system)  # a file that is wrong is told before anything is done
        object.__setattr__(self, "reader", _export_reader(self) or _probe(self))

    def __iter__(self) -> Iterator[Record]:
        rows = self._records()
        if self.system is not None:
            rows = put_system_first(rows, read_system(self.system))
        return scrub_rows(rows, self.scrubbed) if self.scrub else rows

    def _records(self) -> Iterator[Record]:
        if isinstance(self.reader, ExportReader):
            yield from self.reader.records()
            return
        turns = None if self.sessions is None else self.read_sessions(self.sessions)
        for number, (line, raw) in enumerate(self.raw_rows()):
            for record in self.reader.records(raw, Where(self.path, line)):
                yield record if turns is None else turns.with_history(record, number)

    def read_sessions(self, order: str) -> Sessions:
        """Read which rows are turns of which session, in the order of a column."""
        columns = self.columns
        return read_sessions(
            (
                (Where(self.path, line), raw if isinstance(raw, RefusalError) else {**raw, **rename(raw, columns)})
                for line, raw in self.raw_rows()
            ),
            order=order,
        )

    @property
    def name(self) -> str:
        """Return the name for messages: the path; of rows that were in memory, what they were."""
        return memory_name(self.path) or self.path

    @property
    def format_name(self) -> str:
        """Return the name of the format that the rows are read as."""
        return self.reader.importer.name if isinstance(self.reader, ExportReader) else self.reader.format.name

    @property
    def read_as(self) -> str:
        """Return what the rows were recognised as: the layout of a tool's export, else the name of the format."""
        return self.reader.layout if isinstance(self.reader, ExportReader) else self.reader.format.name

    def shown(self) -> ShownAndRated | None:
        """Return which of the answers that people were shown are rated; None where no unrated ones are in the file."""
        return self.reader.shown() if isinstance(self.reader, ExportReader) else None

    def raw_rows(self) -> Iterator[NumberedRow]:
        """Read the rows as the file has them, each with its line."""
        return open_container(self.path, split=self.split).rows()

    def reach(self, progress: Progress) -> Reach:
        """
        Return how far the rows go: an upper bound, from a quick look.

        An export is read once for it, as for its last votes; a progress is told how far that is.
        """
        if isinstance(self.reader, ExportReader):
            return self.reader.first_look(progress).reach
        return Reach({self.path: open_container(self.path, split=self.split).last_line()})

    def fingerprint(self) -> str:
        """Return the sha256 of the file's bytes in hex, or the fingerprint that a dataset carries."""
        exported = self.reader.export if isinstance(self.reader, ExportReader) else None
        read = exported or open_container(self.path, split=self.split)
        # Another system prompt is another set of rows, and so are rows without personal data.
        if self.system is None and not self.scrub:
            return read.fingerprint()
        system = "" if self.system is None else read_system(self.system)
        return hashlib.sha256(f"{read.fingerprint()} {system}{' scrubbed' * self.scrub}".encode()).hexdigest()


def _export_reader(source: FeedbackSource) -> ExportReader | None:
    """Return the reader of a tool's export; None where the file is none, or is read by columns that the user named."""
    by_columns = bool(source.columns) or (source.format is not None and source.format not in IMPORTERS)
    found = None if by_columns else find_reader(source.path, name=source.format, options=source.options)
    if found is not None:
        for name in ("sessions", "preference_scale"):
            if getattr(source, name) is not None:
                raise DataError(
                    f"{source.name}: feedback.{name} is set, and this is read as {found.layout}, which says that "
                    "itself; leave it out"
                )
    elif source.options.reweight:
        raise cannot_reweight(source.name, "the rows of this file are all rated")
    elif source.options != Options():
        raise DataError(
            f"{source.name}: feedback.voters and feedback.metric are for exports of tools that log and rate "
            f"({', '.join(IMPORTERS)}), and this is none; leave them out"
        )
    return found


def _probe(source: FeedbackSource) -> RowReader:
    """Detect the format from the first rows; raise DataError where the file cannot be read at all."""
    path = source.path
    reading = Reading(source.format, source.columns, preference_scale(source.preference_scale))
    container = open_container(path, split=source.split)
    probed = _first_rows(container, _PROBED_ROWS)
    raw_rows = [row for _, row in probed if not isinstance(row, RefusalError)]
    if not raw_rows:
        raise _unreadable(source.name, container, probed)
    seen = list(dict.fromkeys(name for row in raw_rows for name in row))
    check_two_answers(source.columns, probed, lambda: _first_rows(container, TRIED_ROWS), path=path)
    reader = make_reader(probed, reading, path=path)
    if reader is None:
        raise _unknown(source, container, seen=seen, rows=raw_rows)
    if source.sessions is not None:
        _check_sessions(source, reader, source.sessions, seen=seen, rows=raw_rows)
    return reader


def _check_sessions(
    source: FeedbackSource, reader: RowReader, order: str, *, seen: Sequence[str], rows: Sequence[RawRow]
) -> None:
    """Raise DataError where the rows are no turns of sessions, or the column of their order is none."""
    subject = f"{source.name}: feedback.sessions"
    if reader.format is not UNPAIRED:
        raise DataError(
            f"{subject} puts rows of one question and one answer in order; rows of the format {reader.format.name!r} "
            "hold their history themselves, or compare answers; leave it out"
        )
    if order not in seen:
        raise DataError(f"{subject}: the file has no column {order!r}{nearest_hint(order, seen)}")
    if not any(rename(row, source.columns).get("conversation") for row in rows):
        likely = next(iter(guess.columns_for("conversation", seen)), "COLUMN")
        raise DataError(
            f"{subject}: no column says which rows are one session; map it: "
            f"{columns_option({**source.columns, 'conversation': likely})}"
        )
    for row in rows:
        try:
            parse_order(row.get(order), column=order)
        except RefusalError:
            continue
        return
    raise DataError(
        f"{subject}: {order} puts nothing in order: its first values are neither numbers nor ISO dates "
        f"(seen: {', '.join(short_repr(row.get(order)) for row in rows[:3])})"
    )


def _first_rows(container: Container, most: int) -> list[NumberedRow]:
    with closing(container.rows()) as rows:
        return list(islice(rows, most))


def _unreadable(path: str, container: Container, probed: Sequence[NumberedRow]) -> DataError:
    """Return the error for a file of which no probed row can be read."""
    if not probed:
        return DataError(f"{path}: the {container.kind} has no rows")
    line, first = probed[0]
    message = first.message if isinstance(first, RefusalError) else ""
    return DataError(
        f"{path}:{line}: {message}; none of the first {len(probed)} rows can be read as {container.kind}. "
        f"Feedback is read from JSONL (one object a line), a JSON array of objects, CSV with a header, or Parquet"
    )


def _unknown(source: FeedbackSource, container: Container, *, seen: Sequence[str], rows: Sequence[RawRow]) -> DataError:
    """Return the error for rows that fit no format, with what was seen, tried, and what to do."""
    path = source.name
    names = {name for row in rows for name in rename(row, source.columns)}
    columns = f"Columns seen: {listed(seen)}"
    vendor = recognise_export(rows)
    if vendor is not None:
        # What its columns hold is nested or needs other files: a mapping would be wrong advice.
        return DataError(f"{path}: this looks like {vendor}, which is not read yet.\n{columns}")
    advice = "\n".join(advice_lines(_first_rows(container, TRIED_ROWS), path=source.path))
    if {"prompt", "completion"} <= names:
        cause = "prompt and completion are there, but neither label nor score: nobody says which answers are good"
    else:
        cause = f"no known format fits the columns of the first {len(rows)} rows"
    tried = "\n".join(f"  {each.name}: {each.needs}" for each in FORMATS.values())
    return DataError(f"{path}: {cause}.\n{columns}\nFormats tried:\n{tried}\n{advice}")
