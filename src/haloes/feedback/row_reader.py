"""Raw rows as records: under the user's names for columns, in the one format that a file has."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from haloes.errors import DataError
from haloes.feedback.columns import check_columns, check_used, nearest_hint, rename
from haloes.feedback.containers import NumberedRow
from haloes.feedback.fields import RawRow
from haloes.feedback.formats.contract import Format
from haloes.feedback.formats.table import FORMATS, detect
from haloes.feedback.labels import check_label_column
from haloes.feedback.preferences import BY_NAMES, PreferenceScale, check_preference_column
from haloes.feedback.refusals import RefusalError
from haloes.records import Record, Refusal, Where, memory_name


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says of a file."""

    format: str | None = None
    """Name of a format; None: detected from the first rows."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """Our name -> the file's column, or None to leave out the column of that name."""
    scale: PreferenceScale = BY_NAMES
    """What the values of a comparison's preference mean."""


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows of one format."""

    format: Format
    reading: Reading

    def records(self, raw: RawRow | RefusalError, where: Where) -> Iterator[Record]:
        """Yield the records of one row: `Feedback`, `Pair`, or a `Refusal` that says what is wrong with it."""
        if isinstance(raw, RefusalError):
            yield raw.at(where)
            return
        # A format may have yielded some records of the row before it refuses the rest (rated turns): they stay.
        try:
            yield from self._parse(rename(raw, self.reading.columns), where)
        except RefusalError as refused:
            yield self._explained(refused, where)

    @property
    def _parse(self) -> Callable[[RawRow, Where], Iterator[Record]]:
        if self.format.preference is None:
            return self.format.parse
        return partial(self.format.parse, scale=self.reading.scale)

    def _explained(self, refused: RefusalError, where: Where) -> Refusal:
        """Return a refusal that also names the file's own column where ours is mapped from it."""
        column = self.reading.columns.get(refused.column) if refused.column is not None else None
        refusal = refused.at(where)
        if column is None:
            return refusal
        return Refusal(where, refusal.reason, f"{refusal.message} ({refused.column} is read from column {column!r})")


def make_reader(rows: Sequence[NumberedRow], reading: Reading, *, path: str) -> RowReader | None:
    """
    Find the format of a file from its first rows, and check these as a whole; None where no format fits.

    Args:
        rows: The first rows; at least one can be read.
        reading: What the user says of the file.
        path: The file.

    Raises:
        DataError: A column that is mapped does not exist or is not used, the named format does not fit, labels are
            numbers of a scale, or preferences are numbers whose direction is not said.
    """
    raw = [(str(Where(path, line)), row) for line, row in rows if not isinstance(row, RefusalError)]
    path = memory_name(path) or path
    check_columns(reading.columns, seen=dict.fromkeys(name for _, row in raw for name in row), path=path)
    numbered = [(where, rename(row, reading.columns)) for where, row in raw]
    renamed = [row for _, row in numbered]
    found = _named(reading.format, renamed, path=path) if reading.format is not None else detect(renamed)
    if found is None:
        return None
    used = frozenset[str]().union(*(found.reads(row) for row in renamed if found.matches(row)))
    check_used(reading.columns, used=used, format_name=found.name, path=path)
    if reading.scale is not BY_NAMES and found.preference is None:
        raise DataError(
            f"{path}: feedback.preference_scale is set, but rows of the format {found.name!r} compare nothing; map the "
            "columns of a comparison (--columns prompt=COLUMN,a=COLUMN,b=COLUMN,preference=COLUMN), or leave it out"
        )
    # Row by row a 0 passes for "undesirable"; only the column as a whole shows that it is a point on a scale.
    check_label_column([(where, label) for where, row in numbered for label in found.labels(row)])
    if found.preference is not None:
        check_preference_column([(where, row.get(found.preference)) for where, row in numbered], reading.scale)
    return RowReader(found, reading)


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
