"""Processes in jails, and the lines that go to them and come from them, within limits of time and size."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

Limit = Literal["time", "output"]

_PIECE = 1 << 16


class LimitReached(Exception):  # noqa: N818 - an outcome, not an error
    """A process took too long, or said too much."""

    def __init__(self, limit: Limit, detail: str) -> None:
        """Keep which limit, and what went past it."""
        super().__init__(detail)
        self.limit = limit
        self.detail = detail


@dataclass(slots=True, eq=False)
class Side:
    """A process in a jail."""

    process: subprocess.Popen[bytes]
    open: dict[int, str]
    """Its pipes that have not come to their end: what it says, and what is printed."""
    said: bytearray = field(default_factory=bytearray)
    """Output of the process that was not read yet."""
    printed: bytearray = field(default_factory=bytearray)
    to_write: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Reads and writes the pipes of some processes at once, so that none waits for another for ever."""

    sides: Sequence[Side]
    deadline: float
    """By `time.monotonic`."""
    most_printed: int
    """Bytes, of each side."""
    most_said: int
    """Bytes of one line."""

    def send(self, side: Side, line: bytes) -> None:
        """Write a line to a process; it is on its way when the next line is read."""
        side.to_write += line

    def line(self, side: Side) -> bytes | None:
        """
        Return the next line that a process says, without its end; None where there is none any more.

        Raises:
            LimitReached: the time is over, or a side printed or said too much.
        """
        looked = 0
        while (end := side.said.find(b"\n", looked)) < 0:
            if "said" not in side.open.values():
                return None
            looked = len(side.said)
            self._turn()
        line = bytes(side.said[:end])
        del side.said[: end + 1]
        return line

    def end(self, side: Side) -> int:
        """
        Wait for a process to end, and return its exit code, or 128 and the number of the signal that ended it.

        Raises:
            LimitReached: it goes on until the time is over.
        """
        while side.open:
            self._turn()
        try:
            code = side.process.wait(max(self.deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired as error:
            raise _too_long() from error
        return code if code >= 0 else 128 - code

    def _turn(self) -> None:
        """Wait until a pipe can be read or written, and do that."""
        places = {handle: side for side in self.sides for handle in side.open}
        poll = select.poll()
        for handle in places:
            poll.register(handle, select.POLLIN)
        for side in self.sides:
            if side.to_write and side.process.stdin is not None:
                places[side.process.stdin.fileno()] = side
                poll.register(side.process.stdin, select.POLLOUT)
        left = self.deadline - time.monotonic()
        ready = poll.poll(left * 1000) if left > 0 else []
        if not ready:
            raise _too_long()
        for handle, _ in ready:
            side = places[handle]
            if handle in side.open:
                self._read(handle, side)
            else:
                self._write(handle, side)

    def _write(self, handle: int, side: Side) -> None:
        try:
            del side.to_write[: os.write(handle, side.to_write[:_PIECE])]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended, and reading shows it
            side.to_write.clear()

    def _read(self, handle: int, side: Side) -> None:
        part = os.read(handle, _PIECE)
        if not part:
            del side.open[handle]
        elif side.open[handle] == "printed":
            side.printed += part
            if len(side.printed) > self.most_printed:
                del side.printed[self.most_printed :]
                raise LimitReached("output", "it was ended")
        else:
            side.said += part
            if len(side.said) > self.most_said:
                raise LimitReached("output", f"it answered with more than {self.most_said:,} bytes")


def _too_long() -> LimitReached:
    return LimitReached("time", "it was ended")


@contextmanager
def sides(processes: Mapping[str, subprocess.Popen[bytes]]) -> Iterator[dict[str, Side]]:
    """Give the sides of some processes, by name; nothing of them is left afterwards."""
    found = {}
    for name, process in processes.items():
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("a process in a jail has three pipes")
        os.set_blocking(process.stdin.fileno(), False)
        found[name] = Side(process, {process.stdout.fileno(): "said", process.stderr.fileno(): "printed"})
    try:
        yield found
    finally:
        for process in processes.values():
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs: those inside end with the one that started them."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            # The group is the jail's own session, so nothing of this process is hit.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
