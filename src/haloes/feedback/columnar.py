"""Raw rows of columnar data, a batch at a time: Parquet files, folders of data, and datasets on the hub."""

import json
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from haloes.errors import DataError
from haloes.feedback.folder import load_folder
from haloes.store import is_gzipped, open_bytes

_ROWS_PER_BATCH = 1000
_NOT_ON_HUB = (
    "there is no such file or folder, and the hub gave no dataset of this name (check the spelling and the network, or "
    "download the dataset and pass its file or folder)"
)
_NO_VALUE = "\udcff"
"""In place of a value that cannot be read: no text, number or label, so that whatever uses it refuses the row."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def parquet_rows(path: str) -> Generator[tuple[int, dict[str, Any]]]:
    """
    Read the rows of a Parquet file, numbered from 1; class labels come as their names.

    Raises:
        DataError: The file is damaged or cut off.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _seekable(path) as stream, pq.ParquetFile(stream) as file:
            # Parquet has the numbers of class labels only; their names stand in the metadata, if `datasets` wrote them.
            classes = _classes_of_schema(file.schema_arrow.metadata)
            yield from _numbered(file.iter_batches(batch_size=_ROWS_PER_BATCH), classes)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; is the file complete?") from error


def parquet_length(path: str) -> int:
    """Return the number of rows of a Parquet file. Raises DataError where it is damaged or cut off."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _seekable(path) as stream, pq.ParquetFile(stream) as file:
            return int(file.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; is the file complete?") from error


def arrow_rows(table: Any) -> Generator[tuple[int, dict[str, Any]]]:
    """
    Read the rows of what has an Arrow stream (`__arrow_c_stream__`), numbered from 1; class labels come as their names.

    Raises:
        DataError: the stream breaks off.
    """
    import pyarrow as pa

    try:
        with pa.RecordBatchReader.from_stream(table) as batches:
            # A table may be one batch: a few rows at a time become Python's.
            parts = (
                batch.slice(start, _ROWS_PER_BATCH)
                for batch in batches
                for start in range(0, batch.num_rows, _ROWS_PER_BATCH)
            )
            yield from _numbered(parts, _classes_of_schema(batches.schema.metadata))
    except pa.ArrowException as error:
        raise DataError(f"the {type(table).__name__} cannot be read as Arrow: {error}") from error


def may_be_hub_name(name: str) -> bool:
    """Return whether a text has the form of a dataset's name on the hub: "name" or "owner/name"."""
    return _HUB_NAME.fullmatch(name) is not None


def load_dataset(name: str, *, split: str) -> Any:
    """
    Open one split of a dataset through `datasets`, memory-mapped; code that comes with a dataset is never run.

    Args:
        name: A folder of `save_to_disk`, a folder of data files, or a name on the hub.
        split: Name of the split, where there are several.

    Raises:
        DataError: There is no such dataset or split, or the hub cannot be reached.
    """
    if Path(name).is_dir():
        return load_folder(Path(name), split=split)
    import datasets

    try:
        return datasets.load_dataset(name, split=split)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError(f"{name}: {_NOT_ON_HUB}: {error}") from error


def dataset_rows(dataset: Any) -> Generator[tuple[int, dict[str, Any]]]:
    """Read the rows of a dataset, numbered from 1; class labels come as their names."""
    classes = {name: kind.names for name, kind in dataset.features.items() if type(kind).__name__ == "ClassLabel"}
    batches = dataset.with_format("arrow").iter(batch_size=_ROWS_PER_BATCH)
    yield from _numbered(batches, classes)


def fingerprint(dataset: Any) -> str:
    """Return the fingerprint that `datasets` keeps of a dataset's content and history."""
    return str(dataset._fingerprint)  # noqa: SLF001  # the library shows it nowhere else


def _numbered(batches: Any, classes: Mapping[str, list[str]]) -> Generator[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in batches:
        columns = {name: _values(batch.column(i)) for i, name in enumerate(batch.schema.names)}
        for values in zip(*columns.values(), strict=True):
            number += 1
            row: dict[str, Any] = dict(zip(columns, values, strict=True))
            for name, names in classes.items():
                row[name] = _class_name(row.get(name), names)
            yield number, {name: _without_nulls(value) for name, value in row.items()}


def _values(column: Any) -> list[Any]:
    """Return the values of a column; what Python cannot hold is refused where it is used, and only there."""
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    # A day of the year 300,000, a text that is not UTF-8.
    except (ArithmeticError, ValueError, pa.ArrowException):
        return [_value(item) for item in column]


def _value(item: Any) -> object:
    import pyarrow as pa

    try:
        return item.as_py()
    except (ArithmeticError, ValueError, pa.ArrowException):
        # Half of a surrogate pair stands for bytes that are no text, as it does where text files are read.
        return _NO_VALUE


def _class_name(value: object, names: list[str]) -> object:
    """Return the name of a class; None for -1, which marks rows without one; other unknown numbers unchanged."""
    if value == -1:
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _without_nulls(value: object) -> object:
    """Remove the empty keys that a column adds to each of its objects, since all share one Arrow type."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _classes_of_schema(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of class labels by column, from the metadata that `datasets` writes into Parquet files."""
    try:
        described = json.loads((metadata or {})[b"huggingface"])
    except (KeyError, ValueError, RecursionError):
        return {}
    # Anybody may have written it: where it is not of this shape, it says nothing.
    for key in ("info", "features"):
        described = described.get(key) if isinstance(described, dict) else None
    kinds = described if isinstance(described, dict) else {}
    named = {
        name: kind.get("names")
        for name, kind in kinds.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
    }
    return {
        name: names
        for name, names in named.items()
        if isinstance(names, list) and all(isinstance(each, str) for each in names)
    }


@contextmanager
def _seekable(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading in any order; a gzipped one through a temporary file, as Parquet is read from its end."""
    with open_bytes(path) as stream:
        if not is_gzipped(path):
            yield stream
            return
        with tempfile.TemporaryFile() as unzipped:
            shutil.copyfileobj(stream, unzipped)
            unzipped.seek(0)
            yield unzipped
