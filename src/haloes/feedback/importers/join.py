"""
Join votes with the answers that they are about, where these are other rows: in a temporary file, not in memory.

    wanted = {as_id(row.get("run_id")) for _, row in votes.rows() ...}
    with Lookup(runs.rows(), lambda row: [as_id(row.get("id"))], wanted=wanted) as answers:
        for run in answers.rows(run_id): ...
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from haloes.errors import DataError
from haloes.feedback.fields import RawRow
from haloes.feedback.importers.contract import LeftOut
from haloes.feedback.importers.export import PlacedRow
from haloes.feedback.refusals import RefusalError
from haloes.records import Where

_WRITTEN = json.JSONEncoder(default=str)


class Lookup:
    """
    Rows by their keys. Use it in a `with`: its file is gone behind it.

    Args:
        rows: The rows to look up; each is read once.
        keys: Returns the keys of a row: none, one or several. None among them is no key.
        wanted: The keys that will be asked for; rows without any of them are not kept. None: all are kept.

    Raises:
        DataError: The temporary file cannot be written.
    """

    def __init__(
        self,
        rows: Iterable[PlacedRow],
        keys: Callable[[RawRow], Iterable[str | None]],
        *,
        wanted: Collection[str | None] | None = None,
    ) -> None:
        self._last: tuple[str | None, list[tuple[int, Where, dict[str, Any]]]] = None, []
        self.faults: list[LeftOut] = []
        """Rows that could not be read: an importer yields them."""
        # An empty name is a file that SQLite makes, writes once its cache is full, and removes.
        self._database = sqlite3.connect("")
        with _told():
            self._database.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;"
                "CREATE TABLE held (number INTEGER PRIMARY KEY, path TEXT, line INTEGER, row TEXT);"
                "CREATE TABLE named (key TEXT, number INTEGER);"
            )
            self._fill(rows, keys, wanted)
            self._database.execute("CREATE INDEX by_key ON named (key, number)")

    def _fill(
        self,
        rows: Iterable[PlacedRow],
        keys: Callable[[RawRow], Iterable[str | None]],
        wanted: Collection[str | None] | None,
    ) -> None:
        for number, (where, row) in enumerate(rows):
            if isinstance(row, RefusalError):
                self.faults.append(LeftOut(row.reason, where, row.message))
                continue
            names = {key for key in keys(row) if key is not None and (wanted is None or key in wanted)}
            if names:
                # Columns of times, which Parquet has, become text as `times` reads it.
                text = _WRITTEN.encode(row)
                self._database.execute("INSERT INTO held VALUES (?, ?, ?, ?)", (number, where.path, where.line, text))
                for key in names:
                    self._database.execute("INSERT INTO named VALUES (?, ?)", (_stored(key), number))

    def rows(self, key: str | None) -> list[tuple[Where, dict[str, Any]]]:
        """Return the rows of a key with their places, in the order of reading; they are not to be changed."""
        return [(where, row) for _, where, row in self.numbered(key)]

    def numbered(self, key: str | None) -> list[tuple[int, Where, dict[str, Any]]]:
        """Return the rows of a key as `rows` does, each after its number: rows of one line have one place."""
        if key is None:
            return []
        if key == self._last[0]:  # votes on one chat follow each other
            return self._last[1]
        query = "SELECT number, path, line, row FROM named JOIN held USING (number) WHERE key = ? ORDER BY number"
        with _told():
            found = self._database.execute(query, (_stored(key),)).fetchall()
        rows = [(number, Where(path, line), json.loads(text)) for number, path, line, text in found]
        self._last = key, rows
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()


def _stored(key: str) -> bytes:
    """Return a key as SQLite takes it, half of a surrogate pair too."""
    return key.encode("utf-8", "surrogatepass")


@contextmanager
def _told() -> Iterator[None]:
    """Tell in a line where the temporary file cannot be written."""
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(
            f"the temporary file that joins votes with answers cannot be written: {error}; is there room on the disk "
            "(SQLITE_TMPDIR names another folder)?"
        ) from error
