"""Rows on disk (JSON, JSONL, Parquet): written whole or not at all, and read with the line that is at fault."""

import gzip
import io
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from haloes.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UTF8_BOM = b"\xef\xbb\xbf"
_ROWS_PER_BATCH = 10_000
MAX_LINE = 1 << 26
"""Bytes of the longest line that is read: a small compressed file may hold one of terabytes."""
_DAMAGE = (OSError, EOFError, zlib.error)
_TEMPORARY = re.compile(r"\..+\.(\d{1,10})-[0-9a-f]{8}\.tmp")
"""The names that `replacing` gives to its temporary files, with the number of the process."""


def is_gzipped(path: str | Path) -> bool:
    """
    Return whether a file's first bytes say that it is gzipped, whatever its name.

    Raises:
        DataError: The file is missing or unreadable.
    """
    try:
        with Path(path).open("rb") as stream:
            return stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {os_cause(error)}") from error


def give_usual_permissions(folder: Path) -> None:
    """Let those read the files of a folder whom the user's umask lets; safetensors writes for the owner alone."""
    # A new file shows the umask, which can otherwise only be read by changing it for all threads.
    probe = folder / ".permissions"
    probe.touch()
    usual = probe.stat().st_mode & 0o666
    probe.unlink()
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(usual)


@contextmanager
def open_bytes(path: str | Path) -> Iterator[BinaryIO]:
    """
    Open a file for reading, and gunzip it where its first bytes (not its name) say that it is gzipped.

    Raises:
        DataError: The file is missing, unreadable, or its compressed data is cut off or damaged.
    """
    gzipped = is_gzipped(path)
    try:
        with Path(path).open("rb") as raw:
            if not gzipped:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unzipped, io.BufferedReader(unzipped) as stream:
                yield stream
    except _DAMAGE as error:
        raise _damaged(str(path), error) from error


def read_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers from 1, as bytes; a UTF-8 byte order mark is taken off."""
    number = 0
    with open_bytes(path) as stream:
        try:
            for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), start=1):
                if len(line) > MAX_LINE:
                    raise DataError(f"{path}:{number}: the line is longer than {MAX_LINE >> 20} MiB, which no row is")
                text = (line.removeprefix(_UTF8_BOM) if number == 1 else line).rstrip(b"\r\n")
                if text and not text.isspace():
                    yield number, text
        except _DAMAGE as error:
            raise _damaged(f"{path}:{number + 1}", error) from error


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Read a JSONL file (gzipped or not) row by row, each with its line number from 1; blank lines are skipped.

    Raises:
        DataError: A line is not a JSON object; the message names the file, the line and the fault.
    """
    return json_rows(read_lines(path), path)


def json_rows(lines: Iterable[tuple[int, bytes]], path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Yield the JSON object of each numbered line that is not blank; `path` begins the message of a fault.

    Raises:
        DataError: A line is not a JSON object.
    """
    for number, line in lines:
        if not line or line.isspace():
            continue
        row = parse_json(line, where=f"{path}:{number}")
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: each line must be a JSON object, not {type(row).__name__}")
        yield number, row


def read_json(path: str | Path) -> Any:
    """
    Read one JSON document.

    Raises:
        DataError: The file is missing or is not JSON.
    """
    with open_bytes(path) as stream:
        return parse_json(stream.read().removeprefix(_UTF8_BOM), where=str(path))


def parse_json(text: str | bytes, *, where: str) -> Any:
    """
    Return the value of a JSON text; `where` (a file, or file:line) begins the message of a fault.

    Raises:
        DataError: The text is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: invalid UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: broken JSON: {json_fault(error)}") from error


def json_fault(error: Exception, *, line: int = 1) -> str:
    """Say what is wrong with a JSON text and at which column; `line` is where the text begins in its file."""
    if isinstance(error, json.JSONDecodeError):
        further = f"line {line + error.lineno - 1}, " if error.lineno > 1 else ""
        place = f"{further}column {error.colno}"
        return f"{error.msg} at {place}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def require_place(path: Path) -> None:
    """
    Refuse a file that could not be written, before the work whose result it is to hold. Makes nothing.

    Raises:
        DataError: there is a folder of this name, or no folder can be made for it, or none can be written to.
    """
    if path.is_dir():
        raise DataError(f"{path}: cannot be written: it is a folder; give the name of a file")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise DataError(f"{path}: cannot be written: {above} is a file and no folder; choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise DataError(f"{path}: cannot be written: nothing may be written in {above}; choose another place")


def write_text(path: str | Path, text: str) -> None:
    """
    Write a UTF-8 text file; the old file stays until the new one is complete.

    Raises:
        DataError: The file cannot be written; nothing is left behind.
    """
    with _replacing(path) as stream:
        stream.write(text.encode())


def write_json(path: str | Path, value: object) -> None:
    """
    Write one JSON document, indented, with its keys in the order given.

    Raises:
        DataError: The value holds something that JSON cannot (NaN, an object), or the file cannot be written.
    """
    with _replacing(path) as stream:
        stream.write(_dumps(value, where=str(path), indent=2) + b"\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """
    Write rows as JSONL, gzipped where the name ends in ".gz", and return how many there were.

    The same rows give the same bytes, gzipped or not.

    Raises:
        DataError: A row holds something that JSON cannot (NaN, an object), or the file cannot be written.
    """
    with _replacing(path) as stream, _zipped(stream, path) as out:
        number = 0
        for number, row in enumerate(rows, start=1):
            out.write(_dumps(row, where=f"{path}: row {number}") + b"\n")
        return number


def read_parquet(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Read a Parquet file row by row, each with its number from 1, a batch of rows in memory at a time.

    Raises:
        DataError: The file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with Path(path).open("rb") as stream, pq.ParquetFile(stream) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH // 10):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    # What Python cannot hold (a date of the year 300,000, text that is not UTF-8) is no row of ours either.
    except (OSError, ValueError, ArithmeticError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {os_cause(error)}") from error


def write_parquet(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """
    Write plain rows as Parquet and return how many there were; a column's type follows from all of its rows.

    Raises:
        DataError: A column mixes types that do not go together, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pending = iter(rows)
    tables = []
    try:
        while batch := list(islice(pending, _ROWS_PER_BATCH)):
            names = dict.fromkeys(name for row in batch for name in row)
            tables.append(pa.table({name: pa.array([row.get(name) for row in batch]) for name in names}))
        table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except pa.ArrowException as error:
        raise DataError(f"{path}: the rows do not fit one Parquet table: {os_cause(error)}") from error
    with _replacing(path) as stream:
        pq.write_table(table, stream)
    return sum(len(table) for table in tables)


def _dumps(value: object, *, where: str, indent: int | None = None) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be written as JSON: {error}") from error


@contextmanager
def _zipped(stream: BinaryIO, path: str | Path) -> Iterator[BinaryIO]:
    if not str(path).endswith(".gz"):
        yield stream
        return
    # No name and no time in the header: the same rows give the same bytes.
    with gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as zipped, io.BufferedWriter(zipped) as out:
        yield out


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """
    Yield a stream into a temporary file beside `path`, which takes its name once everything is safely on the disk.

    Raises:
        OSError: the file cannot be written; the old one stays, and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        # On the disk before it takes the name: a power cut leaves the old file or the new one, and never a part.
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_strays(folder: Path) -> None:
    """
    Remove the temporary files that `replacing` left in a folder and below it when its process was killed.

    Those of a process that is alive stay: somebody may write a report into a run's folder at this moment.
    """
    for path in folder.rglob(".*.tmp"):
        if is_stray(path):
            path.unlink(missing_ok=True)


def is_stray(path: Path) -> bool:
    """Return whether a file has the name of a temporary one of `replacing`, whose process is no more."""
    found = _TEMPORARY.fullmatch(path.name)
    return found is not None and not _is_alive(int(found[1]))


def _is_alive(process: int) -> bool:
    """Return whether another process of this machine has this number."""
    if process == os.getpid():
        return False  # a number that was given anew, as in each start of a container: this process writes nothing yet
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def _replacing(path: str | Path) -> Iterator[BinaryIO]:
    try:
        with replacing(Path(path)) as stream:
            yield stream
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {os_cause(error)}; free space or choose another place") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system lets folders be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _damaged(place: str, error: Exception) -> DataError:
    return DataError(f"{place}: cannot be read: {os_cause(error)}; is the file complete?")


def os_cause(error: BaseException) -> str:
    """Return an OSError's text without its number, and without the path that the message names already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
