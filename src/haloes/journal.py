"""
A JSONL file that a stopped job resumes: rows are added as they come, so that a kill costs one of them at most.

A kill leaves whole lines and perhaps a last one that is cut in two. `Journal.resume` returns the rows of the whole
lines and takes the cut one away; its row is then made again. The file may also be something else, and somebody's only
copy of it: nothing is cut before every row was parsed and the caller has checked that it is of the same job.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from haloes.errors import DataError, RunError
from haloes.store import json_rows, replacing

Row = TypeVar("Row")


class Journal(Generic[Row]):
    """A file of rows, and the only way to add to them. It holds no rows itself, and no open file."""

    def __init__(
        self,
        path: Path,
        *,
        first_key: str,
        load: Callable[[dict[str, Any], str], Row],
        dump: Callable[[Row], str],
        advice: str,
        advice_when_full: str | None = None,
    ) -> None:
        """
        Name the file and say how rows stand in it. Nothing is read or written yet.

        Args:
            path: the file; it and its folder may be missing.
            first_key: the key with which every line begins, by which a line that was cut is told from another file's.
            load: makes a row of a line's fields and of its file:line; raises DataError where it is none.
            dump: makes a line of a row, as JSON without a line break.
            advice: what to do where the file cannot be written; the end of the message.
            advice_when_full: the same where the disk is full, if that is another thing.
        """
        self.path = path
        self._first_key, self._load, self._dump = first_key, load, dump
        self._advice, self._advice_when_full = advice, advice_when_full or advice

    def read(self) -> list[Row]:
        """
        Return the rows of all whole lines, and leave the file as it is; none where there is no file.

        Raises:
            DataError: a line is damaged or no row; the message names the file and the line.
        """
        return self._read()[0]

    def resume(self, check: Callable[[Sequence[Row]], None] | None = None) -> list[Row]:
        """
        Return the rows that are there, and take away a last line that a kill cut off.

        Args:
            check: raises RunError where the rows are of another job; the file then stays as it is.

        Raises:
            DataError: as `read`.
            RunError: as `check`, or what is cut off cannot be taken away.
        """
        rows, end = self._read()
        if check is not None:
            check(rows)
        # The next row must begin on a line of its own. A whole file is not opened for writing: it may be read-only.
        if self.path.exists() and self.path.stat().st_size > end:
            with self._writing():
                os.truncate(self.path, end)
        return rows

    def add(self, *rows: Row) -> None:
        """Write rows behind those that are there, and hand them to the system at once. Raises RunError on failure."""
        lines = "".join(self._dump(row) + "\n" for row in rows).encode()
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Opened anew for each call: whatever kills the job next, what was added is no longer ours to lose.
            with self.path.open("ab") as file:
                file.write(lines)

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Put these rows in place of the file's, whole or not at all. Raises RunError where that fails."""
        with self._writing(), replacing(self.path) as file:
            file.writelines((self._dump(row) + "\n").encode() for row in rows)

    def _read(self) -> tuple[list[Row], int]:
        """Return the rows of the whole lines, and at which byte these end."""
        try:
            data = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return [], 0
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}; give another place") from error
        end = data.rfind(b"\n") + 1
        lines = enumerate(data[:end].split(b"\n"), start=1)
        rows = [self._load(fields, f"{self.path}:{number}") for number, fields in json_rows(lines, self.path)]
        # No whole row says what the file is: the cut line has to begin as a row does, as far as it goes.
        start, cut = f'{{"{self._first_key}"'.encode(), data[end:]
        if cut and not rows and not cut.startswith(start) and not start.startswith(cut):
            raise DataError(
                f"{self.path}: this file holds something else, and nothing can be added to it; give another place"
            )
        return rows, end

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = self._advice_when_full if error.errno == errno.ENOSPC else self._advice
            raise RunError(f"{self.path} cannot be written ({error.strerror or error}); {advice}") from error
