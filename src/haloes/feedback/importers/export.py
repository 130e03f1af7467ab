"""
An export as it lies on the disk: one file, or a folder of files, each of rows in any container.

Rows that an API wraps in pages, {"data": [...], "meta": {...}}, are the rows of the file.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from haloes.errors import DataError
from haloes.feedback.containers import NumberedRow, check_exists, file_fingerprint, open_container, open_file
from haloes.feedback.fields import RawRow
from haloes.feedback.folder import export_files
from haloes.feedback.refusals import RefusalError
from haloes.records import Where

PlacedRow: TypeAlias = tuple[Where, RawRow | RefusalError]
"""A row's place, and the row, or the reason why it cannot be read."""

_HEAD = 20
"""Rows of a file that are looked at to recognise it."""
_MOST_FILES = 5000
_ROWS = frozenset(
    {"data", "items", "results", "feedback", "feedbacks", "scores", "observations", "runs", "traces", "spans"}
)
_PAGING = frozenset(
    {"meta", "next_cursor", "nextCursor", "cursor", "cursors", "has_more", "hasMore", "page", "limit", "total", "count"}
    | {"object", "first_id", "last_id", "offset", "next_page_token", "nextPageToken", "pagination", "success", "error"}
)
"""Words of an API's page: an object of rows under one of the first, and nothing else but some of the second."""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export."""

    path: str
    name: str
    """Its place in the folder that was given, such as "scores/2026-11.parquet"; of a single file its name."""
    kind: str
    """Container: "JSONL", "JSON array", "JSON object", "CSV", "Parquet"."""
    head: tuple[RawRow, ...] = field(repr=False)
    """The first rows that can be read."""
    opened: Callable[[], Generator[NumberedRow]] = field(repr=False)

    def rows(self) -> Generator[PlacedRow]:
        """Read the rows, each with its place, or the reason why it cannot be read."""
        number = 0
        for line, row in self.opened():
            page = None if isinstance(row, RefusalError) else _page(row)
            if page is None:
                yield Where(self.path, line), _without_blanks(row) if self.kind == "CSV" else row
                continue
            for item in page:
                number += 1
                yield Where(self.path, number), _object(item)

    def last_line(self) -> int | None:
        """Return an upper bound of the last row's line; None for pages, whose rows have numbers of their own."""
        return None if self.kind == "JSON object" else open_container(self.path, split="train").last_line()

    def has(self, *columns: str) -> bool:
        """Return whether one of the first rows has all these columns."""
        return any(set(columns) <= row.keys() for row in self.head)


@dataclass(frozen=True, slots=True)
class Export:
    """The files of an export."""

    path: str
    """The file or folder that was given."""
    files: tuple[ExportFile, ...]

    def with_columns(self, *columns: str) -> "Export | None":
        """Return the part of the export that is of files with all these columns; None where there is none."""
        files = tuple(file for file in self.files if file.has(*columns))
        return Export(self.path, files) if files else None

    def rows(self) -> Iterator[PlacedRow]:
        """Read the rows of all files, one after another."""
        for file in self.files:
            yield from file.rows()

    def head(self) -> Iterator[RawRow]:
        """Yield the first rows of each file."""
        for file in self.files:
            yield from file.head

    def unreadable(self, *, what: str, how: str) -> DataError:
        """Return the error for an export that can not be used: what it is, and how to get one that can."""
        return DataError(f"{self.path}: {what}. {how}")

    def fingerprint(self) -> str:
        """Return the sha256 over the names and bytes of all files, in hex; of a single file that of its bytes."""
        digests = [(file.name, file_fingerprint(file.path)) for file in self.files]
        if len(digests) == 1:
            return digests[0][1]
        return hashlib.sha256(repr(digests).encode()).hexdigest()


def open_export(path: str) -> Export | None:
    """
    Open a file or a folder of files; None where it is neither, or no folder of plain data files.

    Raises:
        DataError: A file cannot be read at all, or there is nothing of that name.
    """
    check_exists(path)
    location = Path(path)
    if location.is_file():
        return Export(path, (_opened(path, location.name),))
    files = export_files(location, most=_MOST_FILES) if location.is_dir() else None
    if not files:
        return None
    return Export(path, tuple(_opened(str(file), file.relative_to(location).as_posix()) for file in files))


def _opened(path: str, name: str) -> ExportFile:
    kind, rows = open_file(path)
    file = ExportFile(path, name, kind, (), rows)
    with closing(file.rows()) as first:
        head = tuple(row for _, row in islice(first, _HEAD) if not isinstance(row, RefusalError))
    return ExportFile(path, name, kind, head, rows)


def _page(row: RawRow) -> list[object] | None:
    """Return the rows of an API's page; None for what is a row itself."""
    names = row.keys() & _ROWS
    if len(names) != 1 or not row.keys() <= names | _PAGING:
        return None
    rows = row[names.pop()]
    return rows if isinstance(rows, list) and (not rows or isinstance(rows[0], Mapping)) else None


def _without_blanks(row: RawRow | RefusalError) -> RawRow | RefusalError:
    """Return a row of a CSV with null for what is blank: a CSV has no other way to write it."""
    return row if isinstance(row, RefusalError) else {name: None if cell == "" else cell for name, cell in row.items()}


def _object(item: object) -> RawRow | RefusalError:
    return item if isinstance(item, Mapping) else RefusalError("wrong type", "a row of the page is no JSON object")
