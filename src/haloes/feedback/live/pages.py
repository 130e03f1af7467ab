"""
The pages that a server gave, kept in a folder: a file a stream (scores, observations ...), a page a line.

Each line says for which query and at which place of it (cursor) the page was asked for, and where the query goes on: a
line is the only record of that, so that a kill at any moment loses at most the page that was being written.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from haloes.errors import DataError, RunError

Query: TypeAlias = Mapping[str, Any]
"""What is asked for, in values that JSON has; the same query has the same pages."""

_START = b'{"page"'


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a server's reply."""

    rows: Sequence[Any]
    next: str | None
    """Where the query goes on; None behind its last page."""
    meta: Mapping[str, Any]
    """What the server said beside the rows, as it stands."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One page that is kept."""

    query: Query
    cursor: str | None
    next: str | None
    rows: list[Any]
    meta: Mapping[str, Any]


class Pages:
    """The pages in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, stream: str) -> Iterator[Kept]:
        """
        Yield the pages of a stream, in order; a last one that a kill cut off is taken away.

        Raises:
            DataError: The file is damaged, or something else.
        """
        path = self._path(stream)
        if not path.exists():
            return
        end = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    if not line.startswith(_START[: len(line)]):
                        raise _damaged(path, number)
                    break
                yield _kept(path, number, line)
                end += len(line)
        if path.stat().st_size > end:
            os.truncate(path, end)

    def add(self, stream: str, query: Query, cursor: str | None, page: Page) -> None:
        """Write a page behind those that are there, and hand it to the system. Raises RunError on failure."""
        asked = {"query": query, "cursor": cursor, "next": page.next}
        line = json.dumps({"page": asked, "data": page.rows, "meta": page.meta}, ensure_ascii=False) + "\n"
        try:
            with self._path(stream).open("ab") as file:
                # Half of a surrogate pair, which JSON may spell, stays as it is: the reader refuses its row alone.
                file.write(line.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise RunError(
                f"{self._path(stream)} cannot be written ({error.strerror or error}); make room, and go on with the "
                "same command"
            ) from error

    def _path(self, stream: str) -> Path:
        return self.folder / f"{stream}.jsonl"


def _kept(path: Path, number: int, line: bytes) -> Kept:
    try:
        row = json.loads(line.decode("utf-8", "surrogatepass"))
        asked = row["page"]
        return Kept(asked["query"], asked["cursor"], asked["next"], row["data"], row["meta"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _damaged(path, number) from error


def _damaged(path: Path, number: int) -> DataError:
    return DataError(f"{path}:{number}: this is no page that was fetched; delete {path.parent}, and fetch anew")
