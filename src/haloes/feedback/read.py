"""Read a feedback file of any format and container as records: row by row, as often as needed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from os import fspath

from haloes.errors import DataError
from haloes.feedback.columns import check_columns, nearest_hint, rename, suggestion
from haloes.feedback.containers import Container, NumberedRow, open_container
from haloes.feedback.fields import RawRow
from haloes.feedback.formats.contract import Format
from haloes.feedback.formats.table import FORMATS, detect
from haloes.feedback.formats.unsupported import recognise_export
from haloes.feedback.labels import check_label_column
from haloes.feedback.refusals import RefusalError
from haloes.records import Record, Refusal, Where

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
    """Name of a format; None: detected from the first rows."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """Our name -> the file's column, or None to leave out the column of that name."""
    split: str = "train"
    """Name of the split, for a dataset that has several."""
    format_name: str = field(init=False)
    """Name of the format that the rows are read as."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", fspath(self.path))
        object.__setattr__(self, "format_name", _probe(self).name)

    def __iter__(self) -> Iterator[Record]:
        parse = FORMATS[self.format_name].parse
        for line, raw in open_container(self.path, split=self.split).rows():
            where = Where(self.path, line)
            if isinstance(raw, RefusalError):
                yield raw.at(where)
                continue
            # A format may have yielded some records of the row before it refuses the rest (rated turns): they stay.
            try:
                yield from parse(rename(raw, self.columns), where)
            except RefusalError as refused:
                yield self._explained(refused, where)

    def fingerprint(self) -> str:
        """Return the sha256 of the file's bytes in hex, or the fingerprint that a dataset carries."""
        return open_container(self.path, split=self.split).fingerprint()

    def _explained(self, refused: RefusalError, where: Where) -> Refusal:
        """Return a refusal that also names the file's own column where ours is mapped from it."""
        column = self.columns.get(refused.column) if refused.column is not None else None
        refusal = refused.at(where)
        if column is None:
            return refusal
        return Refusal(where, refusal.reason, f"{refusal.message} ({refused.column} is read from column {column!r})")


def _probe(source: FeedbackSource) -> Format:
    """Detect the format from the first rows; raise DataError where the file cannot be read at all."""
    path = source.path
    container = open_container(path, split=source.split)
    with closing(container.rows()) as rows:
        probed = list(islice(rows, _PROBED_ROWS))
    raw_rows = [row for _, row in probed if not isinstance(row, RefusalError)]
    if not raw_rows:
        raise _unreadable(path, container, probed)
    seen = list(dict.fromkeys(name for row in raw_rows for name in row))
    check_columns(source.columns, seen=seen, path=path)
    renamed = [rename(row, source.columns) for row in raw_rows]
    detected = _named(source.format, renamed, path=path) if source.format is not None else detect(renamed)
    if detected is None:
        raise _unknown(path, seen=seen, rows=raw_rows, num_probed=len(probed), renamed=renamed)
    # Row by row a 0 passes for "undesirable"; only the column as a whole shows that it is a point on a scale.
    labels = [
        (f"{path}:{line}", label)
        for line, row in probed
        if not isinstance(row, RefusalError)
        for label in detected.labels(rename(row, source.columns))
    ]
    check_label_column(labels)
    return detected


def _named(name: str, rows: Sequence[RawRow], *, path: str) -> Format:
    """Return the format of a name; raise DataError where there is none, or where no row has it."""
    if name not in FORMATS:
        raise DataError(f"{path}: there is no feedback format {name!r}{nearest_hint(name, FORMATS)}")
    if not any(map(FORMATS[name].matches, rows)):
        columns = ", ".join(dict.fromkeys(column for row in rows for column in row))
        raise DataError(
            f"{path}: none of the first {len(rows)} rows has the format {name!r}, which needs {FORMATS[name].needs}; "
            f"the columns are: {columns}"
        )
    return FORMATS[name]


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


def _unknown(
    path: str, *, seen: Sequence[str], rows: Sequence[RawRow], num_probed: int, renamed: Sequence[RawRow]
) -> DataError:
    """Return the error for rows that fit no format, with what was seen, tried, and what to do."""
    names = {name for row in renamed for name in row}
    columns = f"Columns seen: {', '.join(seen)}"
    advice = (
        "What to do: if each row has a prompt, an answer and a label, say in which columns, "
        f"for example {suggestion(names)}"
    )
    vendor = recognise_export(rows)
    if vendor is not None:
        return DataError(f"{path}: this looks like {vendor}, which is not read yet.\n{columns}\n{advice}")
    if {"prompt", "completion"} <= names:
        cause = "prompt and completion are there, but neither label nor score: nobody says which answers are good"
    else:
        cause = f"no known format fits the columns of the first {num_probed} rows"
    tried = "\n".join(f"  {each.name}: {each.needs}" for each in FORMATS.values())
    return DataError(f"{path}: {cause}.\n{columns}\nFormats tried:\n{tried}\n{advice}")
