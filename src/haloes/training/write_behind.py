"""
Checkpoints that are written while the next steps run: copied to host memory at once, written by a thread of their own.

A run waits for the copy, and for what is still being written where it takes the next one, stops or ends. A checkpoint
of one process is complete when the thread has written it. Where several write one together each thread writes its own
files, and they complete it between two steps: the thread itself never waits for another process.
"""

import os
import resource
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from haloes.training.distributed import Ranks
from haloes.training.microbatch_size import free_memory
from haloes.training.save_checkpoint import Saving, Snapshot
from haloes.training.settings import Auto

_SHARE = 0.5
"""Share of the free memory that a copy may take."""
_SMALL = 256 * 2**20
"""Bytes up to which a copy of what is on a CPU already pays: of more, copy and thread cost the steps what the wait does
(LOG.md)."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A checkpoint on its way to the disk."""

    saving: Saving
    own: "Future[bytes]"
    """What this process says of its files; of a checkpoint that it writes alone, once that is complete."""
    then: Callable[[], None]


class CheckpointWriter:
    """
    Writes the checkpoints of a run, until it is closed.

    All processes come to `save`, `look` and `wait` together.
    """

    def __init__(self, ranks: Ranks, writers: Ranks | None, *, behind: bool | Auto) -> None:
        """
        Write nothing yet.

        Args:
            ranks: the processes of the run.
            writers: those that write checkpoints together, this one among them: all where weights are shards, else
                the main one alone; None where this one writes none.
            behind: whether the next steps run meanwhile; "auto": where that pays and there is memory for a copy.
        """
        self._ranks, self._writers, self._behind = ranks, writers, behind
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: deque[_Written] = deque()
        self._has_failed = False

    def save(self, folder: Path, taken: Snapshot, *, keep: int | None, then: Callable[[], None]) -> None:
        """
        Write a checkpoint into a folder; where there is room for a copy the run goes on meanwhile.

        Args:
            folder: takes it.
            taken: the run as it is now.
            keep: how many of the newest stay in the folder.
            then: done by the main process once it is complete, and all that was saved before it.

        Raises RunError where this one or the one before cannot be written; what was complete before stays.
        """
        if self._under_way and self._under_way[0].saving.snapshot.step != taken.step:
            self.finish()
        # Two of one step, the best and the newest, share their copy.
        shared = self._under_way[0].saving.snapshot if self._under_way else None
        pays = self._writers is None or shared is not None or self._pays(taken)
        behind = not self._ranks.any(not pays)
        if self._writers is not None:
            saving = Saving(folder, shared or (taken.copied() if behind else taken), keep)
            saving.begin()
            self._under_way.append(_Written(saving, self._thread.submit(self._write, saving, then), then))
        if not behind:
            self.wait()

    def look(self) -> None:
        """Complete what all processes have written by now. Raises RunError where one could not."""
        if self._writers is not None:
            while self._under_way and not self._writers.any(not self._under_way[0].own.done()):
                self._finish_next()

    def finish(self) -> None:
        """Wait until what this process writes is complete, without the processes that write nothing."""
        while self._under_way:
            self._finish_next()

    def wait(self) -> None:
        """Wait until everything is on the disk, with all processes. Raises RunError where it cannot be written."""
        self.finish()
        self._ranks.barrier()

    def close(self) -> None:
        """Let the thread end; after an error, when others may be gone, what is not complete on all is given up."""
        self._thread.shutdown(wait=True)
        for written in self._under_way:
            if not self._is_alone:
                written.saving.give_up()

    def _write(self, saving: Saving, then: Callable[[], None]) -> bytes:
        """Write this process's files, in the thread; all of a checkpoint that it writes alone."""
        if self._has_failed:  # what comes after may count on what came before
            return b""
        try:
            own = saving.write_own()
            if self._is_alone:
                saving.complete(own)
                then()
        except BaseException:
            self._has_failed = True
            raise
        return own

    def _finish_next(self) -> None:
        """Wait for the thread, and complete what is written together."""
        written = self._under_way[0]
        own = written.own.result()
        if not self._is_alone:
            written.saving.complete(own)
            if self._ranks.is_main:
                written.then()
        self._under_way.popleft()

    @property
    def _is_alone(self) -> bool:
        return self._writers is not None and self._writers.count == 1

    def _pays(self, taken: Snapshot) -> bool:
        if self._behind != "auto":
            return self._behind
        if taken.is_on_cpu and taken.nbytes > _SMALL:
            return False
        here = 1 if self._is_alone else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return here * taken.nbytes <= _SHARE * room()


def room() -> int:
    """Return the bytes of host memory that are free beside all that this process has ever held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return free_memory(torch.device("cpu")) - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
