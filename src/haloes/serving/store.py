"""
The store: one SQLite file in WAL mode, one thread that writes, and readers that do not wait for it.

Whatever waits when a transaction begins goes into it, so that fifty answers cost one fsync. A write is told as done
when it is on the disk (synchronous=FULL): neither `kill -9` nor a loss of power takes it back. Writes happen in the
order in which they were asked for: who has read an answer to its end can vote on it.
"""

import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from haloes.collected import SCHEMA, UPGRADES, opened_to_read
from haloes.errors import RunError
from haloes.locks import hold_file
from haloes.serving.records import NotKeptError

Result = TypeVar("Result")

_MOST_AT_ONCE = 200
_MOST_UNKEPT = 1000
_PATIENCE = 30
"""Seconds that a write waits for another program that has the file locked."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    done: "Future[Any]"
    again: bool
    """Whether it is tried again with the next write where the disk was full."""


class Store:
    """A store that is open; use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Take a path; nothing is opened yet."""
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unkept: deque[_Job] = deque(maxlen=_MOST_UNKEPT)
        self._reading = threading.Lock()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """
        Open the file, or make it.

        Raises:
            RunError: another server holds it, or it cannot be made or opened.
            DataError: it is some other file.
        """
        with ExitStack() as opening:
            opening.enter_context(hold_file(self.path))
            try:
                writer = self._opened()
            except (sqlite3.Error, OSError) as error:
                raise RunError(f"{self.path} cannot be opened ({error}); give another place as --store") from error
            opening.callback(writer.close)
            self._reader = opened_to_read(self.path)
            opening.callback(self._reader.close)
            self._thread = threading.Thread(target=self._write, args=(writer,), name="store")
            self._thread.start()
            opening.callback(self._stop)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, and close."""
        self._open.close()

    def write(self, work: Callable[[sqlite3.Connection], Result], *, again: bool = False) -> "Future[Result]":
        """
        Have something written; what comes back is done when it is on the disk.

        The future raises UnknownError where the work does, and NotKeptError where the disk is full or fails.

        Args:
            work: writes with the connection, inside a transaction.
            again: where the disk is full, try it again before the next write.
        """
        job = _Job(work, Future(), again)
        self._jobs.put(job)
        return job.done

    def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what is read with the connection; it sees all that was written before."""
        with self._reading:
            return work(self._reader)

    def _opened(self) -> sqlite3.Connection:
        # One thread at a time uses it; the first is the one that opens.
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=_PATIENCE, check_same_thread=False)
        try:
            # One transaction, and only then the WAL: a kill leaves an empty file or a whole one.
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            opened_to_read(self.path).close()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version in UPGRADES:
                connection.executescript(f"BEGIN IMMEDIATE; {UPGRADES[version]} COMMIT;")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _stop(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _write(self, connection: sqlite3.Connection) -> None:
        going = True
        while going:
            jobs = [self._jobs.get()]
            with suppress(queue.Empty):
                while len(jobs) < _MOST_AT_ONCE:
                    jobs.append(self._jobs.get_nowait())
            going = None not in jobs
            self._transact(connection, [job for job in jobs if job is not None])

    def _transact(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """Carry out jobs in one transaction, and tell each how it went."""
        jobs = [*self._unkept, *jobs]
        self._unkept.clear()
        results: list[Any] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [_carried_out(job, connection) for job in jobs]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._unkept.extend(job for job in jobs if job.again and isinstance(error, sqlite3.OperationalError))
            results = [NotKeptError(f"it could not be written ({error})")] * len(jobs)
        for job, result in zip(jobs, results, strict=True):
            if job.done.done():  # of one that is tried again it was told already
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)


def _carried_out(job: _Job, connection: sqlite3.Connection) -> Any:
    """Return the result of a job, or its error, with which nothing of it is written; the others go on."""
    connection.execute("SAVEPOINT job")
    try:
        return job.work(connection)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - whoever waits for the job is told
        connection.execute("ROLLBACK TO job")
        return error
    finally:
        with suppress(sqlite3.Error):  # a full disk ended the whole transaction
            connection.execute("RELEASE job")
