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
from haloes.run_files import DATA, is_run
from haloes.store import is_gzipped, open_bytes

_ROWS_PER_BATCH = 1000
_NOT_ON_HUB = (
    "there is no such file or folder, and the hub gave no dataset of this name (check the spelling and the network, or "
    "download the dataset and pass its file or folder)"
)
_DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
_SHOWN = 5
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
    folder = Path(name)
    is_saved = _is_saved_dataset(folder)
    # Before the import, which takes seconds, and with better words than the library has for such a folder.
    if folder.is_dir() and not is_saved:
        _check_folder(folder)
    import datasets

    try:
        if is_saved:
            saved = datasets.load_from_disk(name)
        elif folder.is_dir():
            with _without_bars():
                return datasets.load_dataset(str(folder.resolve()), split=split)
        else:
            return datasets.load_dataset(name, split=split)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError, KeyError) as error:
        if is_saved:
            raise DataError(f"{name}: the saved data set cannot be read: {error}; is it complete?") from error
        if folder.is_dir():
            raise _not_one_dataset(folder, error) from error
        raise DataError(f"{name}: {_NOT_ON_HUB}: {error}") from error
    # A saved dataset has one split and no name for it; a saved dictionary of them has names.
    if not isinstance(saved, Mapping):
        return saved
    if split not in saved:
        raise DataError(f"{name}: the dataset has no split {split!r}; it has {', '.join(sorted(saved))}")
    return saved[split]


def dataset_rows(dataset: Any) -> Generator[tuple[int, dict[str, Any]]]:
    """Read the rows of a dataset, numbered from 1; class labels come as their names."""
    classes = {name: kind.names for name, kind in dataset.features.items() if type(kind).__name__ == "ClassLabel"}
    batches = dataset.with_format("arrow").iter(batch_size=_ROWS_PER_BATCH)
    yield from _numbered(batches, classes)


def fingerprint(dataset: Any) -> str:
    """Return the fingerprint that `datasets` keeps of a dataset's content and history."""
    return str(dataset._fingerprint)  # noqa: SLF001  # the library shows it nowhere else


def _is_saved_dataset(folder: Path) -> bool:
    """Return whether `datasets.save_to_disk` wrote the folder."""
    return (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()


def _check_folder(folder: Path) -> None:
    """Raise DataError for a folder that holds a model, a run, or no data file: it is no feedback."""
    if (folder / "adapter_config.json").is_file() or (
        (folder / "config.json").is_file() and (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")))
    ):
        raise DataError(f"{folder}: the folder holds a model, and feedback is wanted here; a model is given by --model")
    if is_run(folder) and (folder / DATA).is_file():
        raise DataError(
            f"{folder}: the folder holds a run, and feedback is wanted here; give the feedback's own file (data.json "
            f"names it), or go on with the run: haloes resume {folder}"
        )
    if next(_data_files(folder), None) is None:
        raise DataError(f"{folder}: there is no data file in the folder (JSONL, JSON, CSV, Parquet or Arrow)")


def _data_files(folder: Path) -> Iterator[Path]:
    """Yield the files that may be data, in any order."""
    for path in folder.rglob("*"):
        if path.name.lower().removesuffix(".gz").endswith(_DATA) and not path.name.startswith("."):
            yield path


def _not_one_dataset(folder: Path, error: Exception) -> DataError:
    """Return the error for a folder whose files `datasets` cannot read as one data set."""
    from datasets.table import CastError

    # `datasets` wraps the reason in errors of its own, whose messages only say that something failed.
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if isinstance(cause, CastError):
        reason = "its files have different columns"
    names = sorted(map(str, _data_files(folder)))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return DataError(
        f"{folder}: the folder cannot be read as one data set ({reason}); give one of its files: "
        f"{', '.join(names[:_SHOWN])}{more}"
    )


def _numbered(batches: Any, classes: Mapping[str, list[str]]) -> Generator[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            for name, names in classes.items():
                row[name] = _class_name(row.get(name), names)
            yield number, {name: _without_nulls(value) for name, value in row.items()}


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
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    kinds = {name: kind for name, kind in features.items() if isinstance(kind, dict)}
    return {
        name: kind["names"] for name, kind in kinds.items() if kind.get("_type") == "ClassLabel" and "names" in kind
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


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide progress bars: local files are converted in a moment, and a bar would stand between the lines of the run."""
    import datasets

    were_off = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            datasets.enable_progress_bars()
