"""
Encode in several processes: the rows, their order and the errors are those of one process.

The workers are plain children on pipes (`haloes.tokens.worker`) and not multiprocessing's, which forks a process that
has threads, or imports the user's script once more. Whatever a worker does not answer, because it raised something, was
killed or never started, is encoded here: so an error is raised in the same place as with one process.

Encoded rows travel as a few long arrays: to pickle three small ones a row takes 21 microseconds and not 4.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.tokens.encode import Encoded, Encoder, Ids, Unencodable
from haloes.tokens.template import TextRow

EncodeTask: TypeAlias = tuple[int, TextRow, bool]
"""One completion to encode: the number of its encoder, the row (prompt, completion, tools), and whether it came to its
end."""

EncodeResults: TypeAlias = list[Encoded | Unencodable]
EncodeFn: TypeAlias = Callable[[Iterable[tuple[Any, Sequence[EncodeTask]]]], Iterator[tuple[Any, EncodeResults]]]
"""A function that encodes chunks, each passed and returned with a value of the caller's; lazily, and in order."""


@dataclass(frozen=True, slots=True)
class PackedResults:
    """The results of a chunk as a few long arrays, in which they travel between processes."""

    ids: Ids
    """Token ids of the first row's prompt and completion, then of the second's, and so on."""
    trained: NDArray[np.bool_]
    """`Encoded.trained` of all rows, one after the other."""
    lengths_N2: NDArray[np.int64]
    """Tokens of each prompt and of each completion."""
    flags_N5: NDArray[np.bool_]
    """prompt_cut, completion_cut, agrees, reasons, shows_reasoning of each row."""
    refused: dict[int, Unencodable]
    """Rows that cannot be encoded, by their position in the chunk; all others are encoded."""


Waiting: TypeAlias = deque[tuple[Any, Sequence[EncodeTask], "Future[PackedResults | None]"]]
Process: TypeAlias = "subprocess.Popen[bytes]"

MAX_PROCESSES = 8
"""Limit of worker processes: one process reads and writes the rows, and cannot keep more busy; each takes 0.1 GiB."""


def num_processors(most: int | None = None) -> int:
    """Return the number of processors that this process may use, at most `most` (None: all) and `MAX_PROCESSES`."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(usable, most or MAX_PROCESSES, MAX_PROCESSES)


def encode_tasks(encoders: Sequence[Encoder], tasks: Sequence[EncodeTask]) -> EncodeResults:
    """Encode each task with its encoder, in order. Raises ModelError as `Encoder.encode` does."""
    # One call for each encoder, with all of its tasks, since a call's preparation costs as much as many rows.
    encoded: dict[int, Encoded | Unencodable] = {}
    for number, encoder in enumerate(encoders):
        own = [i for i, task in enumerate(tasks) if task[0] == number]
        results = encoder.encode([tasks[i][1] for i in own], finished=[tasks[i][2] for i in own])
        encoded |= zip(own, results, strict=True)
    return [encoded[i] for i in range(len(tasks))]


def pack_results(results: EncodeResults) -> PackedResults:
    """Pack results into a few long arrays."""
    rows = [row for row in results if isinstance(row, Encoded)]
    none: list[Ids] = [np.zeros(0, np.int32)]
    return PackedResults(
        ids=np.concatenate([part for row in rows for part in (row.prompt, row.completion)] or none),
        trained=np.concatenate([row.trained for row in rows] or [np.zeros(0, np.bool_)]),
        lengths_N2=np.array([(len(row.prompt), len(row.completion)) for row in rows], np.int64).reshape(-1, 2),
        flags_N5=np.array(
            [(row.prompt_cut, row.completion_cut, row.agrees, row.reasons, row.shows_reasoning) for row in rows],
            np.bool_,
        ).reshape(-1, 5),
        refused={i: row for i, row in enumerate(results) if isinstance(row, Unencodable)},
    )


def unpack_results(packed: PackedResults) -> EncodeResults:
    """Undo `pack_results`; the rows' arrays are views."""
    results: EncodeResults = []
    lengths, flags = iter(packed.lengths_N2.tolist()), iter(packed.flags_N5.tolist())
    start = trained_start = 0
    for i in range(len(packed.lengths_N2) + len(packed.refused)):
        if i in packed.refused:
            results.append(packed.refused[i])
            continue
        num_prompt, num_completion = next(lengths)
        cut, end = start + num_prompt, start + num_prompt + num_completion
        trained = packed.trained[trained_start : trained_start + num_completion]
        results.append(Encoded(packed.ids[start:cut], packed.ids[cut:end], trained, *next(flags)))
        start, trained_start = end, trained_start + num_completion
    return results


@contextmanager
def parallel_encoding(encoders: Sequence[Encoder], *, processes: int) -> Iterator[EncodeFn]:
    """
    Open a function that encodes chunks; with more than one process, a few chunks ahead of the caller.

    The workers live inside the block only, however it is left.

    Args:
        encoders: the encoders, by the numbers in the tasks.
        processes: number of processes that encode; with 1 it is this one.
    """
    if processes == 1:
        yield partial(_encode_here, encoders)
        return
    workers: list[Process] = []
    threads = ThreadPoolExecutor(processes)
    try:
        _start(workers, processes)
        idle: SimpleQueue[Process] = SimpleQueue()
        pickled = pickle.dumps(encoders, pickle.HIGHEST_PROTOCOL)
        # A thread for each worker: a write to a pipe blocks until the worker has started and reads.
        for worker in workers:
            threads.submit(_send_encoders, worker, pickled, idle)
        ask = (lambda tasks: threads.submit(_request, idle, tasks)) if workers else None
        yield partial(_encode_ahead, encoders, ask, 2 * processes) if ask else partial(_encode_here, encoders)
    finally:
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)  # threads that wait for a worker see that it is gone
        for worker in workers:
            _reap(worker)


def _encode_here(
    encoders: Sequence[Encoder], chunks: Iterable[tuple[Any, Sequence[EncodeTask]]]
) -> Iterator[tuple[Any, EncodeResults]]:
    for value, tasks in chunks:
        yield value, encode_tasks(encoders, tasks)


def _encode_ahead(
    encoders: Sequence[Encoder],
    submit: Callable[[bytes], "Future[PackedResults | None]"],
    most: int,
    chunks: Iterable[tuple[Any, Sequence[EncodeTask]]],
) -> Iterator[tuple[Any, EncodeResults]]:
    """Yield results in order, with up to `most` chunks on their way to workers."""
    # A bounded queue: reading far ahead of the trainer's store would hold the rows of a whole file in memory.
    waiting: Waiting = deque()
    for value, tasks in chunks:
        waiting.append((value, tasks, submit(pickle.dumps(tasks, pickle.HIGHEST_PROTOCOL))))
        if len(waiting) > most:
            yield _take_first(encoders, waiting)
    while waiting:
        yield _take_first(encoders, waiting)


def _take_first(encoders: Sequence[Encoder], waiting: Waiting) -> tuple[Any, EncodeResults]:
    """Wait for the oldest chunk; encode it here where its worker gave no answer."""
    value, tasks, answer = waiting.popleft()
    packed = answer.result()
    return value, encode_tasks(encoders, tasks) if packed is None else unpack_results(packed)


def _start(workers: list[Process], wanted: int) -> None:
    """Start workers, as many as can be started, and add them to the list."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109 - "" is the present folder
    # Processes share the processors already: threads of their libraries would only compete.
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    with suppress(OSError):
        for _ in range(wanted):
            process = subprocess.Popen(  # noqa: S603 - this Python, with a module of ours
                [sys.executable or "", "-P", "-m", "haloes.tokens.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **one_thread, "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"},
                start_new_session=True,  # Ctrl-C reaches the caller alone; a worker ends when its input does
            )
            workers.append(process)


def _send_encoders(worker: Process, encoders: bytes, idle: "SimpleQueue[Process]") -> None:
    """Send a worker its encoders, which takes as long as it starts, and then count it as idle."""
    _send(worker, encoders)
    idle.put(worker)


def _request(idle: "SimpleQueue[Process]", tasks: bytes) -> PackedResults | None:
    """Send a chunk to an idle worker and return its results; None where it gives none."""
    worker = idle.get()
    try:
        _send(worker, tasks)
        packed: PackedResults | None = pickle.load(worker.stdout)  # type: ignore[arg-type] # noqa: S301 - a process of ours
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    finally:
        # A dead worker too: whoever takes it next gets no answer either, where an empty queue would wait forever.
        idle.put(worker)
    return packed


def _send(worker: Process, message: bytes) -> None:
    with suppress(OSError):  # a worker that is gone gives no answer, and its chunk is encoded here
        worker.stdin.write(message)  # type: ignore[union-attr] # it is a pipe
        worker.stdin.flush()  # type: ignore[union-attr]


def _reap(worker: Process) -> None:
    """Wait for a killed worker, so that no zombie is left, and close its pipes."""
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        with suppress(OSError):  # closing flushes what was not written any more
            pipe.close()  # type: ignore[union-attr]
