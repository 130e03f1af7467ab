"""
Raw rows of any container: JSONL, JSON array, CSV (gzipped or not), Parquet, dataset folder, hub dataset.

A container is recognised by its content, never by its name alone: exports are often called .json and hold JSONL.
"""

import csv
import difflib
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self, TextIO, TypeAlias

from haloes.collected import MAGIC as SQLITE
from haloes.collected import fingerprint, is_collected, last_vote, votes
from haloes.errors import DataError
from haloes.feedback import columnar
from haloes.feedback.chats_in_text import spelled_turns
from haloes.feedback.json_array import elements
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.store import MAX_LINE, json_fault, open_bytes, os_cause, read_json, read_lines

NumberedRow: TypeAlias = tuple[int, dict[str, Any] | RefusalError]
"""A row's line (its number, from 1, in containers without lines), and its columns, or the reason why there are none."""

_NOT_READ = {
    SQLITE: "an SQLite database, and not the one of `haloes serve`: export its table as CSV",
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save it as CSV (UTF-8)",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it first (or use gzip)",
    b"BZh": "compressed with bzip2: decompress it first (or use gzip)",
    b"\xfd7zXZ": "compressed with xz: decompress it first (or use gzip)",
    b"ARROW1": "an Arrow file: pass the dataset folder that it lies in, or save it as Parquet",
}
_JSON_SUFFIXES = {".jsonl", ".json", ".ndjson"}
_FILE_SUFFIXES = _JSON_SUFFIXES | {".csv", ".tsv", ".txt", ".parquet", ".gz", ".xlsx", ".zip"}
_CELLS_OF: dict[tuple[str, ...], tuple[str, ...]] = {
    ("conversation", "index", "value", "flag", "timestamp"): ("conversation", "index", "value", "timestamp")
}
"""Headers under which a tool writes rows with fewer cells, and what these are: Gradio's log of chats."""
_HEAD, _BLOCK = 1 << 12, 1 << 20
_MAX_CELL = 1 << 24


@dataclass(frozen=True, slots=True)
class Container:
    """The kind of file or dataset that a path holds, with the functions that read it."""

    kind: str
    """"JSONL", "JSON array", "JSON object", "CSV", "Parquet", "dataset folder" or "hub dataset"."""
    rows: Callable[[], Generator[NumberedRow]]
    """Reads all rows from the start at each call, a few at a time in memory."""
    fingerprint: Callable[[], str]
    """Returns the sha256 of the file's bytes, or the fingerprint that a dataset carries."""
    last_line: Callable[[], int]
    """Returns the number of the last row's line, as `rows` numbers them: an upper bound, without parsing a row."""


def open_container(path: str, *, split: str) -> Container:
    """
    Detect from its content what a path (or else a hub name) holds; no row is read yet.

    Args:
        path: A file, a folder of `datasets.save_to_disk` or of data files, or the name of a dataset on the hub.
        split: Name of the split, for a dataset with several; files have none.

    Raises:
        DataError: Nothing is there, or it is of a kind that is not read; the message says what to do.
    """
    check_exists(path)
    location = Path(path)
    if location.is_file():
        if split != "train":
            raise DataError(f"{path}: a file has no splits, so split {split!r} cannot be chosen; leave it out")
        kind, rows = open_file(path)
        last_line = _LAST_LINES.get(kind, _count_lines)
        return Container(kind, lambda: _with_turns(rows()), lambda: file_fingerprint(path), lambda: last_line(path))
    dataset = columnar.load_dataset(path, split=split)
    kind = "dataset folder" if location.is_dir() else "hub dataset"
    return Container(
        kind,
        lambda: _with_turns(columnar.dataset_rows(dataset)),
        lambda: columnar.fingerprint(dataset),
        lambda: len(dataset),
    )


def open_file(path: str) -> tuple[str, Callable[[], Generator[NumberedRow]]]:
    """
    Detect from its content what kind of container a file is; return the kind, and what reads its rows as they stand.

    Raises:
        DataError: It is of a kind that is not read; the message says what to do.
    """
    kind = _kind_of(path)
    return kind, lambda: _READERS[kind](path)


def check_exists(path: str) -> None:
    """Raise DataError where there is no such file or folder, and it cannot be the name of a dataset on the hub."""
    if not path.strip():
        raise DataError("the feedback's name is empty: give a file, a folder, or the name of a data set")
    location = Path(path)
    try:
        location.stat()
    except (OSError, ValueError) as error:
        # Not "there is none", for which what follows has better words: too long, not allowed, no name at all.
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise DataError(f"{short_repr(path)}: cannot be read: {os_cause(error)}") from error
    # A name that ends like a file's is a file that is missing; asking the hub for it would hide the spelling mistake.
    may_be_on_hub = location.suffix.lower() not in _FILE_SUFFIXES and columnar.may_be_hub_name(path)
    if not (location.is_file() or location.is_dir() or may_be_on_hub):
        raise DataError(f"{path}: there is no such file{_near(location)}")


def _kind_of(path: str) -> str:
    """Detect the kind of a file from its first bytes; raise DataError for one that is not read."""
    with open_bytes(path) as stream:
        head = stream.read(_HEAD)
        if head.startswith(b"PAR1"):
            return "Parquet"
        if is_collected(path):
            return "SQLite"
        for magic, what in _NOT_READ.items():
            if head.startswith(magic):
                raise DataError(f"{path}: the file is {what}")
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        # A file may begin with more blank lines than the head holds.
        while not text and head:
            if stream.tell() > MAX_LINE:
                raise DataError(f"{path}: the file begins with more than {MAX_LINE >> 20} MiB of blanks")
            head = stream.read(_HEAD)
            text = head.lstrip()
    if not text:
        raise DataError(f"{path}: the file is empty")
    if text[:1] == b"[":
        return "JSON array"
    if text[:1] == b"{":
        return "JSON object" if _is_one_object(path) else "JSONL"
    # The first line is no JSON: a broken line of a file that is called .jsonl, or else the header of a CSV.
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() != ".gz"]
    return "JSONL" if suffixes and suffixes[-1] in _JSON_SUFFIXES else "CSV"


def _is_one_object(path: str) -> bool:
    """Return whether the file is a single JSON object over several lines, small enough to be held in memory."""
    # A first line that is an object by itself is the first row of many.
    _, first = next(read_lines(path))
    if isinstance(_object(first), dict):
        return False
    with open_bytes(path) as stream:
        text = stream.read(MAX_LINE + 1)
    return len(text) <= MAX_LINE and isinstance(_object(text.removeprefix(b"\xef\xbb\xbf")), dict)


def _jsonl_rows(path: str) -> Generator[NumberedRow]:
    for number, line in read_lines(path):
        yield number, _object(line)


def _array_rows(path: str) -> Generator[NumberedRow]:
    # Bytes that are not UTF-8 become surrogates, which the text checks refuse row by row.
    with open_bytes(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text:
        for line, element in elements(text, path=path):
            yield line, _object(element, line=line)


def _object(text: bytes | str, *, line: int = 1) -> dict[str, Any] | RefusalError:
    """Parse a JSON object, or return the reason why the text is none."""
    try:
        row = json.loads(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        return RefusalError("invalid unicode", f"invalid UTF-8 at byte {error.start}; save the file as UTF-8")
    except (ValueError, RecursionError) as error:
        return RefusalError("broken JSON", f"broken JSON: {json_fault(error, line=line)}")
    if isinstance(row, dict):
        return row
    return RefusalError("wrong type", f"a row must be a JSON object, not {type(row).__name__}")


def _object_rows(path: str) -> Generator[NumberedRow]:
    yield 1, read_json(path)


def _sqlite_rows(path: str) -> Generator[NumberedRow]:
    for number, row in votes(path):
        yield number, RefusalError("broken JSON", "the vote's answer holds broken JSON") if row is None else row


def _csv_rows(path: str) -> Generator[NumberedRow]:
    """Read the rows of a CSV, with the delimiter that its header suggests; raise DataError for a broken file."""
    # Python's own limit (128 KiB a cell) is below what answers with code reach; a bound still stops a lost quote from
    # swallowing the file.
    csv.field_size_limit(_MAX_CELL)
    with (
        open_bytes(path) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        # The delimiter is the one that the header has most of: where the comma is the decimal mark, spreadsheets write
        # semicolons.
        lines = _CsvLines(text, path=path)
        first = next(lines, "")
        reader = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count), strict=True)
        header: list[str] = []
        while True:
            line = reader.line_num + 1
            lines.begin_row()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                if "expected after" in str(error):  # a stray quote spoils its own row only
                    message = f"broken CSV: {error}; a quote inside a cell is written twice"
                    yield line, RefusalError("broken CSV", message)
                    continue
                raise DataError(f"{path}:{line}: broken CSV: {error}; is a quote left open?") from error
            if cells is None:
                return
            if not header:
                header = _checked_header(cells, path=path)
            elif cells:
                yield line, _named_cells(header, cells)


class _CsvLines:
    """The lines of a CSV for `csv.reader`, which joins lines into a row for as long as quotes are open."""

    def __init__(self, stream: TextIO, *, path: str) -> None:
        self._stream, self._path = stream, path
        self._line = self._length = 0

    def begin_row(self) -> None:
        """Begin the next row, which may have as many characters as the last one."""
        self._length = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Return the next line; raise DataError where the row has become longer than any row is."""
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self._line, self._length = self._line + 1, self._length + len(line)
        if self._length > MAX_LINE:
            raise DataError(
                f"{self._path}:{self._line}: the row is longer than {MAX_LINE >> 20} MiB, which no row is; "
                "is a quote left open?"
            )
        return line


def _checked_header(header: list[str], *, path: str) -> list[str]:
    times = Counter(header)
    for name in header:
        if not name.strip():
            raise DataError(f"{path}:1: the header has a column without a name; the first line must name the columns")
        if times[name] > 1:
            raise DataError(f"{path}:1: the header names {name!r} twice; the first line must name the columns")
    return header


def _named_cells(header: list[str], cells: list[str]) -> dict[str, Any] | RefusalError:
    """Name the cells of a row by the header."""
    names = _CELLS_OF.get(tuple(header), ())
    header = list(names) if len(names) == len(cells) else header
    if len(cells) != len(header):
        return RefusalError("broken CSV", f"the row has {len(cells)} cells, and the header names {len(header)} columns")
    return {name: _cell(cell) for name, cell in zip(header, cells, strict=True)}


def _cell(cell: str) -> object:
    """Return a cell's text, or the tool definitions that it spells as JSON, since CSV has no lists."""
    # An answer may be a list in brackets too: only what looks like tools in every respect is taken for them.
    if not (cell.startswith("[{") and cell.endswith("]") and '"function"' in cell):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if "function" in set(value[0]) else cell


def _with_turns(rows: Iterable[NumberedRow]) -> Generator[NumberedRow]:
    """Replace texts that spell the turns of a chat by these turns; one that cannot be read shows where it is used."""
    for number, row in rows:
        if not isinstance(row, RefusalError):
            for name, value in row.items():
                if isinstance(value, str) and (turns := _turns(value)) is not None:
                    row[name] = turns
        yield number, row


def _turns(text: str) -> object:
    try:
        return spelled_turns(text)
    except RefusalError:
        return None


def _count_lines(path: str) -> int:
    """Count the lines of a text file; the last one may lack its end."""
    lines, block = 0, b""
    with open_bytes(path) as stream:
        while found := stream.read(_BLOCK):
            block = found
            lines += block.count(b"\n")
    return lines + (block[-1:] != b"\n")


def file_fingerprint(path: str) -> str:
    """Return the sha256 of a file's bytes, in hex; of a database that of what it says, which is not all in one file."""
    if is_collected(path):
        return fingerprint(path)
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _near(missing: Path) -> str:
    """Return a hint with the name in the same folder that comes closest to one that does not exist."""
    folder = missing.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(missing.name, names, n=1)
    return f"; did you mean {folder / near[0]}?" if near else ""


_READERS: dict[str, Callable[[str], Generator[NumberedRow]]] = {
    "JSONL": _jsonl_rows,
    "JSON array": _array_rows,
    "JSON object": _object_rows,
    "CSV": _csv_rows,
    "Parquet": columnar.parquet_rows,
    "SQLite": _sqlite_rows,
}
_LAST_LINES = {"Parquet": columnar.parquet_length, "SQLite": last_vote}
