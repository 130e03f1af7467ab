"""
Folders of data, as `datasets` saves them or as files side by side: only what lies in the folder is read.

A folder may come from anybody. What it says of itself (`configs` of its README.md, the files that state.json names,
links) could name files of whoever reads it, or addresses: the files are found here, and `datasets` gets their names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from haloes.errors import DataError
from haloes.run_files import DATA, is_run
from haloes.store import read_json

_READERS: dict[str, tuple[str, dict[str, str]]] = {
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".parquet": ("parquet", {}),
    ".arrow": ("arrow", {}),
    ".txt": ("text", {}),
}
"""File ending -> the reader of `datasets` and its settings."""
_SHOWN = 5


def load_folder(folder: Path, *, split: str) -> Any:
    """
    Open one split of a folder through `datasets`, memory-mapped.

    Args:
        folder: of `save_to_disk`, or with data files of one kind, whose names say their split as on the hub.
        split: name of the split, where there are several.

    Raises:
        DataError: it holds no data, something else, files that are no one data set, or it names files outside of it.
    """
    is_saved = (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()
    # Before the import, which takes seconds, and with better words than the library has for such a folder.
    if is_saved:
        _check_saved(folder)
    else:
        _check_folder(folder)
    import datasets

    try:
        with _without_bars():
            if not is_saved:
                return _files_as_one(folder, split=split)
            saved = datasets.load_from_disk(str(folder))
    except DataError:
        raise
    # What is wrong with files that somebody else wrote ends in errors of every kind.
    except Exception as error:
        if is_saved:
            raise DataError(f"{folder}: the saved data set cannot be read: {error}; is it complete?") from error
        raise _not_one_dataset(folder, error) from error
    # A saved dataset has one split and no name for it; a saved dictionary of them has names.
    if not isinstance(saved, dict):
        return saved
    return saved[_present(folder, split, saved)]


def _files_as_one(folder: Path, *, split: str) -> Any:
    """Read the data files of a folder that belong to a split, which their names say, as `datasets` does."""
    import datasets
    from datasets.data_files import DataFilesDict, DataFilesList, get_data_patterns

    root = folder.resolve().as_posix()
    found = DataFilesDict.from_patterns(get_data_patterns(root), base_path=root)
    files = found[_present(folder, split, found)]
    endings = [_ending(Path(name)) for name in files]
    kinds = Counter(ending for ending in endings if ending is not None)
    if not kinds:
        raise DataError(f"{folder}: no file of the split {split!r} is JSONL, JSON, CSV, Parquet or Arrow")
    # Of files of several kinds `datasets` reads the most frequent.
    builder, settings = _READERS[max(kinds, key=lambda ending: kinds[ending])]
    kept = [i for i, ending in enumerate(endings) if ending is not None and _READERS[ending] == (builder, settings)]
    for i in kept:
        _check_inside(folder, Path(files[i]))
    # A list of this kind is taken as it is: no name in it is read as a pattern or as an address.
    listed = DataFilesList([files[i] for i in kept], [files.origin_metadata[i] for i in kept])
    return datasets.load_dataset(builder, data_files={split: listed}, split=split, **settings)


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
    files = list(_data_files(folder))
    if not files:
        raise DataError(f"{folder}: there is no data file in the folder (JSONL, JSON, CSV, Parquet or Arrow)")
    # `datasets` would take such a name for a chain of addresses.
    if chained := next((path for path in files if "::" in str(path)), None):
        raise DataError(f"{chained}: the name holds '::'; give the file itself, or rename it")


def _check_saved(folder: Path) -> None:
    """Raise DataError where a saved data set names parts or files that do not lie in its folder."""
    parts = [folder]
    if (folder / "dataset_dict.json").is_file():
        parts = [folder / name for name in _names(read_json(folder / "dataset_dict.json"), "splits")]
    for part in parts:
        _check_inside(folder, part)
        if (part / "state.json").is_file():
            files = _names(read_json(part / "state.json"), "_data_files")
            for name in files:
                _check_inside(folder, part / name)


def _names(description: object, key: str) -> list[str]:
    """Return the names that a description of a saved data set lists, as texts or as objects with a `filename`."""
    listed = description.get(key) if isinstance(description, dict) else None
    items = listed if isinstance(listed, list) else []
    names = [item.get("filename") if isinstance(item, dict) else item for item in items]
    return [name for name in names if isinstance(name, str)]


def _check_inside(folder: Path, path: Path) -> None:
    """Raise DataError for a file that does not lie in the folder, by its name or by a link."""
    root, real = folder.resolve(), path.resolve()
    # The hub's cache keeps the contents beside its snapshots, which are folders of links.
    allowed = [root, *([root.parents[1] / "blobs"] if root.parent.name == "snapshots" else [])]
    if not any(real.is_relative_to(place) for place in allowed):
        raise DataError(f"{folder}: it names {real}, which lies outside of the folder; give that file itself")


def _present(folder: Path, split: str, splits: Iterable[str]) -> str:
    """Return the split, if it is one of those that the folder has."""
    names = sorted(map(str, splits))
    if split not in names:
        raise DataError(f"{folder}: the dataset has no split {split!r}; it has {', '.join(names)}")
    return split


def _ending(path: Path) -> str | None:
    """Return the ending that says how a file is read, without ".gz"; None for a file that is no data."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return ending if ending in _READERS else None


def export_files(folder: Path, *, most: int) -> list[Path] | None:
    """
    Return the files of a folder that may be parts of an export, in order; empty ones are none.

    None for a folder that is something else (a saved data set, a run, a model) or that holds more files than `most`.

    Raises:
        DataError: A file does not lie in the folder but is a link to one outside.
    """
    marks = ("dataset_info.json", "dataset_dict.json", "adapter_config.json", "config.json")
    if any((folder / name).is_file() for name in marks) or is_run(folder):
        return None
    files = list(islice((path for path in _data_files(folder) if path.is_file() and path.stat().st_size), most + 1))
    if len(files) > most:
        return None
    for path in files:
        _check_inside(folder, path)
    return sorted(files)


def _data_files(folder: Path) -> Iterator[Path]:
    """Yield the files that may be data, in any order."""
    for path in folder.rglob("*"):
        if _ending(path) is not None and not path.name.startswith("."):
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
