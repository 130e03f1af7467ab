"""Folders that are given as feedback: which are data sets, and what the others are."""

from collections.abc import Iterator
from pathlib import Path

from haloes.errors import DataError
from haloes.run_files import DATA, is_run

_DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
_SHOWN = 5


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote the folder."""
    return (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()


def check_folder(folder: Path) -> None:
    """Raises DataError for a folder that holds a model, a run, or no data file, which is no feedback."""
    if (folder / "adapter_config.json").is_file() or (
        (folder / "config.json").is_file() and (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")))
    ):
        raise DataError(f"{folder}: the folder holds a model, and feedback is wanted here; a model is given by --model")
    if is_run(folder) and (folder / DATA).is_file():
        raise DataError(
            f"{folder}: the folder holds a run, and feedback is wanted here; give the feedback's own file (data.json "
            f"names it), or go on with the run: haloes resume {folder}"
        )
    if next(data_files(folder), None) is None:
        raise DataError(f"{folder}: there is no data file in the folder (JSONL, JSON, CSV, Parquet or Arrow)")


def data_files(folder: Path) -> Iterator[Path]:
    """The files that may be data, in any order."""
    for path in folder.rglob("*"):
        if path.name.lower().removesuffix(".gz").endswith(_DATA) and not path.name.startswith("."):
            yield path


def not_one_dataset(folder: Path, error: Exception) -> DataError:
    """What to say of a folder whose files `datasets` cannot read as one data set."""
    from datasets.table import CastError

    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if isinstance(cause, CastError):
        reason = "its files have different columns"
    names = sorted(map(str, data_files(folder)))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return DataError(
        f"{folder}: the folder cannot be read as one data set ({reason}); give one of its files: "
        f"{', '.join(names[:_SHOWN])}{more}"
    )
