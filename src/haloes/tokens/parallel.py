"""
Encoding in several processes: the rows, their order and the errors are those of one process.

The workers are plain children on pipes (`haloes.tokens.worker`) and not multiprocessing's, which forks a process that
has threads, or imports the user's script once more. Whatever a worker does not answer, because it raised something, was
killed or never started, is encoded here: so an error comes from where it comes from in one process.
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

from haloes.tokens.encode import Encoded, Encoder, Ids, TextRow, Unencodable

EncodeTask: TypeAlias = tuple[int, TextRow, bool]
"""One answer: which encoder is for it, prompt and completion and tools, and whether it came to its end."""

EncodeResults: TypeAlias = list[Encoded | Unencodable]
EncodeFn: TypeAlias = Callable[[Iterable[tuple[Any, Sequence[EncodeTask]]]], Iterator[tuple[Any, EncodeResults]]]
"""Chunks of answers, each with something of the caller's, to that and the results; lazily, and in order."""


@dataclass(frozen=True, slots=True)
class PackedResults:
    """Results in a row."""

    ids: Ids
    """Prompt and completion of the first encoded row, of the second, and so on."""
    trained: NDArray[np.bool_]
    """Of the completions' tokens."""
    lengths_N2: NDArray[np.int64]
    """Tokens of the prompts and of the completions."""
    flags_N3: NDArray[np.bool_]
    """prompt_cut, completion_cut, agrees."""
    refused: dict[int, Unencodable]
    """By place; the others are encoded."""


Waiting: TypeAlias = deque[tuple[Any, Sequence[EncodeTask], "Future[PackedResults | None]"]]
Process: TypeAlias = "subprocess.Popen[bytes]"

MAX_PROCESSES = 8
"""Processes. The rows are read and written by one, which could not keep more at work; each takes 0.1 GiB."""


def num_processors(most: int | None = None) -> int:
    """How many processors this process may use, but no more than `most` (None: all) and `MAX_PROCESSES`."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(usable, most or MAX_PROCESSES, MAX_PROCESSES)


def encode_tasks(encoders: Sequence[Encoder], sides: Sequence[EncodeTask]) -> EncodeResults:
    """Each answer as its encoder has it. Raises ModelError as `Encoder.encode` does."""
    found: dict[int, Encoded | Unencodable] = {}
    for number, encoder in enumerate(encoders):
        places = [i for i, side in enumerate(sides) if side[0] == number]
        results = encoder.encode([sides[i][1] for i in places], finished=[sides[i][2] for i in places])
        found |= zip(places, results, strict=True)
    return [found[i] for i in range(len(sides))]


def pack_results(results: EncodeResults) -> PackedResults:
    """Results as a few arrays."""
    rows = [row for row in results if isinstance(row, Encoded)]
    none: list[Ids] = [np.zeros(0, np.int32)]
    return PackedResults(
        ids=np.concatenate([part for row in rows for part in (row.prompt, row.completion)] or none),
        trained=np.concatenate([row.trained for row in rows] or [np.zeros(0, np.bool_)]),
        lengths_N2=np.array([(len(row.prompt), len(row.completion)) for row in rows], np.int64).reshape(-1, 2),
        flags_N3=np.array([(row.prompt_cut, row.completion_cut, row.agrees) for row in rows], np.bool_).reshape(-1, 3),
        refused={i: row for i, row in enumerate(results) if isinstance(row, Unencodable)},
    )


def unpack_results(packed: PackedResults) -> EncodeResults:
    """The inverse of `pack`; the rows' arrays are views."""
    results: EncodeResults = []
    lengths, flags = iter(packed.lengths_N2.tolist()), iter(packed.flags_N3.tolist())
    start = said = 0
    for i in range(len(packed.lengths_N2) + len(packed.refused)):
        if i in packed.refused:
            results.append(packed.refused[i])
            continue
        num_prompt, num_completion = next(lengths)
        cut, end = start + num_prompt, start + num_prompt + num_completion
        trained = packed.trained[said : said + num_completion]
        results.append(Encoded(packed.ids[start:cut], packed.ids[cut:end], trained, *next(flags)))
        start, said = end, said + num_completion
    return results


@contextmanager
def parallel_encoding(encoders: Sequence[Encoder], *, processes: int) -> Iterator[EncodeFn]:
    """
    A function that encodes chunks; with more than one process, a few chunks ahead of whoever takes them.

    The processes are there inside the block only, however it is left.

    Args:
        encoders: what the numbers in the sides mean.
        processes: how many encode; with 1 it is this one.
    """
    if processes == 1:
        yield partial(_here, encoders)
        return
    workers: list[Process] = []
    threads = ThreadPoolExecutor(processes)
    try:
        _start(workers, processes)
        idle: SimpleQueue[Process] = SimpleQueue()
        known = pickle.dumps(encoders, pickle.HIGHEST_PROTOCOL)
        for worker in workers:
            threads.submit(_introduce, worker, known, idle)
        ask = (lambda sides: threads.submit(_ask, idle, sides)) if workers else None
        yield partial(_ahead, encoders, ask, 2 * processes) if ask else partial(_here, encoders)
    finally:
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)  # whoever waits for a worker sees that it is gone
        for worker in workers:
            _bury(worker)


def _here(
    encoders: Sequence[Encoder], chunks: Iterable[tuple[Any, Sequence[EncodeTask]]]
) -> Iterator[tuple[Any, EncodeResults]]:
    for mine, sides in chunks:
        yield mine, encode_tasks(encoders, sides)


def _ahead(
    encoders: Sequence[Encoder],
    submit: Callable[[bytes], "Future[PackedResults | None]"],
    most: int,
    chunks: Iterable[tuple[Any, Sequence[EncodeTask]]],
) -> Iterator[tuple[Any, EncodeResults]]:
    waiting: Waiting = deque()
    for mine, sides in chunks:
        waiting.append((mine, sides, submit(pickle.dumps(sides, pickle.HIGHEST_PROTOCOL))))
        if len(waiting) > most:
            yield _first(encoders, waiting)
    while waiting:
        yield _first(encoders, waiting)


def _first(encoders: Sequence[Encoder], waiting: Waiting) -> tuple[Any, EncodeResults]:
    mine, sides, answer = waiting.popleft()
    packed = answer.result()
    return mine, encode_tasks(encoders, sides) if packed is None else unpack_results(packed)


def _start(workers: list[Process], wanted: int) -> None:
    """Add as many workers as can be started."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109 - "" is the present folder
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


def _introduce(worker: Process, encoders: bytes, idle: "SimpleQueue[Process]") -> None:
    """Tell a worker what it encodes with, which takes as long as it starts."""
    _send(worker, encoders)
    idle.put(worker)


def _ask(idle: "SimpleQueue[Process]", sides: bytes) -> PackedResults | None:
    """What a worker makes of a chunk; None where it makes nothing of it."""
    worker = idle.get()
    try:
        _send(worker, sides)
        packed: PackedResults | None = pickle.load(worker.stdout)  # type: ignore[arg-type] # noqa: S301 - a process of ours
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    finally:
        idle.put(worker)
    return packed


def _send(worker: Process, message: bytes) -> None:
    with suppress(OSError):  # it is gone, which shows when it does not answer
        worker.stdin.write(message)  # type: ignore[union-attr] # it is a pipe
        worker.stdin.flush()  # type: ignore[union-attr]


def _bury(worker: Process) -> None:
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        with suppress(OSError):  # what was not written any more
            pipe.close()  # type: ignore[union-attr]
