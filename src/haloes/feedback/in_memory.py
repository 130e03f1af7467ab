"""
Rows that are in memory (a DataFrame, a table, a data set, dicts, records) as a file, for the readers of files.

One path for all feedback: what is read, refused and counted is the same whether rows come from memory or from a file,
and a run that keeps the file can be resumed. See `haloes.records.memory_file` for the file's name.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from haloes.errors import DataError
from haloes.feedback import columnar
from haloes.records import Feedback, Message, Pair, memory_file
from haloes.records_json import row_to_json
from haloes.store import write_jsonl

InMemory: TypeAlias = Any
"""
A pandas or polars DataFrame, a pyarrow table or anything else with `__arrow_c_stream__`, a `datasets.Dataset`, or an
iterable of dicts and of records (`Feedback`, `Pair`); or a dict of splits, of which "train" is taken.
"""

_ROWS_PER_BATCH = 1000
_TAKEN = (
    "feedback is a file, a DataFrame (pandas, polars), an Arrow table, a datasets.Dataset, or a list of dicts or of "
    "haloes.Feedback and haloes.Pair"
)


def write_in_memory(rows: InMemory, folder: Path, *, part: str) -> Path:
    """
    Write rows that are in memory into a JSONL file, a line a row, and return its path.

    Missing values (None, NaN, NA, NaT) are null, numbers and booleans of numpy are plain ones. A value that no reader
    could use (an image, bytes) is written as its type, so that only a row that needs it is refused.

    Args:
        rows: the rows.
        folder: takes the file.
        part: what they are for: "feedback" or "validation".

    Raises:
        DataError: it is nothing that has rows, or has none; or a row is neither a dict nor a record.
    """
    rows = _split_of(rows)
    kind = type(rows).__name__
    path = memory_file(folder, kind=kind, part=part)
    if not write_jsonl(path, (_plain_row(row, number, kind) for number, row in enumerate(_rows(rows), start=1))):
        raise DataError(f"the {kind} has no rows; {_TAKEN}")
    return path


def _split_of(rows: InMemory) -> InMemory:
    """Return the split "train" of a dict of splits; other rows as they are."""
    if not isinstance(rows, Mapping):
        return rows
    kind, names = type(rows).__name__, ", ".join(map(str, rows))
    if any(isinstance(value, str | bytes) or not isinstance(value, Iterable) for value in rows.values()):
        raise DataError(f"the {kind} ({names}) is a single row; put it into a list")
    if "train" not in rows:
        raise DataError(f'the {kind} has no split "train" (there are: {names}); give one split, such as data["..."]')
    return rows["train"]


def _rows(rows: InMemory) -> Iterator[Any]:
    """Yield each row, a dict or whatever an iterable holds."""
    if getattr(rows, "features", None) is not None and hasattr(rows, "with_format"):
        return (row for _, row in columnar.dataset_rows(rows))
    # Before Arrow, which pandas speaks too: a column of one type is a table's, and pandas' columns may mix them.
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _pandas_rows(rows)
    if hasattr(rows, "__arrow_c_stream__"):
        return (row for _, row in columnar.arrow_rows(rows))
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes):
        return iter(rows)
    raise DataError(f"the {type(rows).__name__} has no rows that can be read; {_TAKEN}")


def _pandas_rows(frame: Any) -> Iterator[dict[Any, Any]]:
    if not frame.columns.is_unique:
        raise DataError(f"the {type(frame).__name__} has two columns of one name: {', '.join(map(str, frame.columns))}")
    for start in range(0, len(frame), _ROWS_PER_BATCH):
        yield from frame.iloc[start : start + _ROWS_PER_BATCH].to_dict(orient="records")


def _plain_row(row: object, number: int, kind: str) -> dict[str, Any]:
    if isinstance(row, Feedback | Pair):
        return row_to_json(row)
    if isinstance(row, Mapping):
        return {str(name): _plain(value) for name, value in row.items()}
    raise DataError(
        f"row {number} of the {kind} is a {type(row).__name__}, not a dict with a value for each column; {_TAKEN}"
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        # JSON has no infinity: as a word it is refused where a number is needed.
        return None if math.isnan(value) else float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Message):
        return row_to_json(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain_foreign(value)


def _plain_foreign(value: Any) -> Any:
    """Return a value of a library's own type: a scalar or array of numpy, a time, a missing value of pandas."""
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _plain(float(value))
    # tolist() is what numpy's scalars and arrays share with Arrow's and torch's.
    if hasattr(value, "tolist") and not isinstance(found := value.tolist(), type(value)):
        return _plain(found)
    return [f"a value of the type {type(value).__name__}"]
