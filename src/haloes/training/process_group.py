"""
The connection between a run's processes: gloo between their processors, NCCL between their GPUs, and a common store.

A process that waits for the others looks at the store meanwhile, where whoever ends early says so first. So nobody
waits for a process that is no more, and one of them alone says why the run ended.
"""

import atexit
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from haloes.errors import ConfigError, ProcessEnded

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

GRADIENTS, TABLES, MEETING = 10 * 60.0, 30 * 60.0, 10 * 60.0
"""Seconds that a sum of gradients waits for the other processes, which come to it together; a sum of a step's tables,
for which they have worked apart; and the first meeting."""
_EVER = timedelta(days=365)
"""The limit of gloo's own: who waits for a process that works alone waits as long as it works."""
_LOOK = 0.5
"""Seconds between two looks at whether another process has ended."""
_TO_SEE = 1.0
"""Seconds that who started the processes has to see that one of them was killed, once its connection broke off."""
_ANSWERS = 30.0
"""Seconds in which a store answers that is there."""
_ENDED, _LOST = "ended", "lost"
"""What the store says of a process that ended early: by itself, or killed, which who started it saw."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the first process that ended early did."""

    index: int
    code: int
    """Its exit code, which becomes that of all."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The connection of one process with the others."""

    index: int
    count: int
    store: Store
    between_processors: dist.ProcessGroup
    between_gpus: dist.ProcessGroup | None
    """None where the run computes on processors."""

    def add_up(self, tensor: Tensor, *, longest: float) -> None:
        """Replace a tensor of one shape on each process by the sum over them. Raises ProcessEnded after `longest` s."""
        if tensor.device.type == "cuda":
            # NCCL waits on the GPU, and its own watchdog ends the process after GRADIENTS.
            dist.all_reduce(tensor, group=self.between_gpus)
        else:
            self._do(lambda: dist.all_reduce(tensor, group=self.between_processors, async_op=True), longest)

    def from_main(self, value: bytes) -> bytes:
        """Return the main process's bytes, however long it takes to have them."""
        size = torch.tensor([len(value)])
        self._do(lambda: dist.broadcast(size, 0, group=self.between_processors, async_op=True), None)
        content = torch.zeros(int(size), dtype=torch.uint8)
        if self.index == 0:
            content = torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else content
        self._do(lambda: dist.broadcast(content, 0, group=self.between_processors, async_op=True), TABLES)
        return content.numpy().tobytes()

    def from_all(self, value: bytes) -> list[bytes]:
        """Return the bytes of every process, in their order."""
        sizes = torch.zeros(self.count, dtype=torch.int64)
        sizes[self.index] = len(value)
        self.add_up(sizes, longest=TABLES)
        if not sizes.any():
            return [b""] * self.count
        # One row a process, zeros elsewhere and behind: their sum holds all of them.
        rows = torch.zeros(self.count, int(sizes.max()), dtype=torch.uint8)
        if value:
            rows[self.index, : len(value)] = torch.frombuffer(bytearray(value), dtype=torch.uint8)
        self.add_up(rows, longest=TABLES)
        return [row[:size].numpy().tobytes() for row, size in zip(rows, sizes.tolist(), strict=True)]

    def mesh(self, over: int | None = None) -> "DeviceMesh":
        """
        Return the processes as those that hold a part of every weight each; all of them come here together.

        Args:
            over: how many of them, one after the other, hold one copy of the weights together; all if left out. It
                divides their number. Copies are the first dimension then, and the parts of a copy the second.
        """
        from torch.distributed.device_mesh import DeviceMesh

        if over is not None and over < self.count:
            places = torch.arange(self.count).view(-1, over)
            kind = "cpu" if self.between_gpus is None else "cuda"
            # All processes make all groups, in one order, those that they are not in too.
            groups = [self._among(places.T), self._among(places)]
            return DeviceMesh.from_group(groups, kind, mesh=places, mesh_dim_names=("copy", "part"))
        if self.between_gpus is not None:
            return DeviceMesh.from_group(self.between_gpus, "cuda")
        # One of its own: who hangs in a pass is noticed, however long the main process may work alone elsewhere.
        between = dist.new_group(backend="gloo", timeout=timedelta(seconds=GRADIENTS))
        return DeviceMesh.from_group(between, "cpu")

    def _among(self, places: Tensor) -> dist.ProcessGroup:
        """Make a group of the processes of each row, and return the one that this process is in."""
        backend = "gloo" if self.between_gpus is None else "nccl"
        made = [
            (row, dist.new_group(row, backend=backend, timeout=timedelta(seconds=GRADIENTS))) for row in places.tolist()
        ]
        found: dist.ProcessGroup = next(group for row, group in made if self.index in row)
        return found

    def lost(self, error: BaseException) -> ProcessEnded | None:
        """Return what to raise where a pass through shards failed because another process is gone; else None."""
        # Whatever tries a model out takes it for a fault of the model, and says so with the error as the cause.
        is_of_connection = any(map(_is_of_connection, _with_causes(error)))
        return _gone(self.store, self.count) if is_of_connection else None

    def meet(self) -> None:
        """Wait until every process has come here, however long one of them works alone."""
        self._do(lambda: dist.barrier(group=self.between_processors, async_op=True), None)

    def _do(self, begin: Callable[[], dist.Work | None], longest: float | None) -> None:
        """Begin something together, and wait for the others. Raises ProcessEnded where one of them is gone."""
        try:
            work = begin()
            if work is not None:
                wait_for(work.is_completed, self.store, self.count, longest)
                work.wait()
        except RuntimeError as error:
            raise _gone(self.store, self.count) from error


def join(*, uses_gpus: bool) -> ProcessGroup:
    """
    Return the connection with the other processes that `torchrun` started, made where it is not there yet.

    Raises:
        ConfigError: the environment does not say where they meet, or a process has no GPU of its own.
        ProcessEnded: one of them ended, or has not come in time.
    """
    return _joined(uses_gpus)


# A process is connected once in its life: a second connection would have to be agreed on with the others again.
@cache
def _joined(uses_gpus: bool) -> ProcessGroup:
    gpu = _own_gpu() if uses_gpus else None
    store = _store()
    index, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # At the store first: gloo's own meeting can neither be interrupted nor see that somebody will never come.
    store.set(f"here/{index}", "")
    here = [f"here/{i}" for i in range(count)]
    wait_for(lambda: bool(store.check(here)), store, count, MEETING)
    if dist.is_initialized():  # by the program that called haloes
        between = dist.new_group(backend="gloo", timeout=_EVER)
    else:
        dist.init_process_group("gloo", store=PrefixStore("gloo", store), rank=index, world_size=count, timeout=_EVER)
        between = dist.group.WORLD
        atexit.register(dist.destroy_process_group)
    gpus = None
    if gpu is not None:
        gpus = dist.new_group(backend="nccl", timeout=timedelta(seconds=GRADIENTS), device_id=gpu)
    return ProcessGroup(index, count, store, between, gpus)


def last_word(code: int) -> tuple[int, bool]:
    """
    Tell the other processes that this one ends with this exit code, unless another one ended before it.

    Returns:
        The code that all of them end with, and whether this process is the first and says why.
    """
    index = int(os.environ.get("RANK", "0"))
    mine = json.dumps({"index": index, "code": code})
    is_torchruns = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        # What torchrun has is there at once; another one is not waited for, should the process that makes it be gone.
        if not (is_torchruns or _store.cache_info().currsize):
            return code, True
        said = _store().compare_set(_ENDED, "", mine)
    except (RuntimeError, ConfigError, ProcessEnded):  # the process that had the store is gone, or there never was one
        return code, True
    first = Ending(**json.loads(said))
    if first.index == index == 0 and not is_torchruns:
        time.sleep(4 * _LOOK)  # the store is this process's own: the others have to have looked
    return first.code, first.index == index


def wait_for(is_done: Callable[[], bool], store: Store, count: int, longest: float | None) -> None:
    """
    Wait until something is done by all processes, open to signals.

    Raises ProcessEnded where another process says that it has ended, or `longest` seconds are over.
    """
    began = looked = time.monotonic()
    pause = 1e-4
    while not is_done():
        now = time.monotonic()
        if now - looked > _LOOK:
            looked = now
            if (ended := _told(store, count)) is not None:
                raise ended
        if longest is not None and now - began > longest:
            raise ProcessEnded(
                f"another of the {count} processes has not answered for {longest / 60:.0f} minutes: it hangs, or its "
                "machine cannot be reached"
            )
        time.sleep(pause)
        pause = min(1.2 * pause, 0.01)


def of_start(store: Store, run_id: str, attempt: int | str) -> Store:
    """Return the part of a store that belongs to one start of a run's processes: they may be started anew with it."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return PrefixStore(f"haloes/{run_id}/{attempt}", store)


def tell_lost(store: Store, index: int, count: int, signal_name: str, *, again: str | None) -> None:
    """
    Tell all processes that one of them was killed: it cannot say so itself, and need not have met them.

    Args:
        store: theirs.
        index: which of them.
        count: how many they are.
        signal_name: what killed it.
        again: which start comes next, as "1 of 3"; None where they are not started again.
    """
    text = f"process {index} of {count} was killed ({signal_name})"
    store.set(_LOST, json.dumps({"message": text, "again": again}))


def is_one_lost(store: Store) -> bool:
    """Return whether a process was killed, on this machine or another; False where nobody can say."""
    try:
        return bool(store.check([_LOST]))
    except RuntimeError:  # the process that had the store is gone
        return False


@cache
def _store() -> Store:
    """Return the store that all processes share; it is torchrun's own, or else the main process has it."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and not _is_there():
        raise ProcessEnded("what started this process is gone, or its machine cannot be reached")
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=MEETING)))
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and the environment does not say where these processes meet "
            f"({error}): start them with torchrun, or unset WORLD_SIZE for one process"
        ) from error
    run_id, attempt = (os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"))
    return of_start(store, run_id, attempt)


def _is_there() -> bool:
    """Return whether the store of what started this process answers; torch would try for long, deaf to signals."""
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        with socket.create_connection(place, timeout=_ANSWERS):
            return True
    except OSError:
        return False


def _own_gpu() -> torch.device:
    """Make this process's GPU the present one. Raises ConfigError where there are too few."""
    index, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if index >= there:
        raise ConfigError(
            f"process {index} of this machine has no GPU of its own: there are {there}; start as many processes "
            f"(--processes {there}; of torchrun --nproc-per-node {there})"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _with_causes(error: BaseException) -> list[BaseException]:
    """Return an error with those that led to it."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:  # what is raised again may be its own cause
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _is_of_connection(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in text or "by peer" in text)
    )


def _gone(store: Store, count: int) -> ProcessEnded:
    """Return what to raise where the connection broke off."""
    until = time.monotonic() + _TO_SEE
    while (told := _told(store, count)) is None and time.monotonic() < until:
        time.sleep(_TO_SEE / 20)
    return told or ProcessEnded(f"another of the {count} processes was killed, or cannot be reached any more")


def _told(store: Store, count: int) -> ProcessEnded | None:
    """Return what to raise where another process ended early; None where none did, or nobody can say."""
    try:
        if store.check([_LOST]):
            lost = json.loads(store.get(_LOST))
            return ProcessEnded(lost["message"], again=lost["again"])
        if store.check([_ENDED]):
            ending = Ending(**json.loads(store.get(_ENDED)))
            return ProcessEnded(f"process {ending.index} of {count} has ended, and says why itself")
    except RuntimeError:  # the process that had the store is gone
        pass
    return None
