"""
Processor and GPU at work at the same time: the next micro-batch is made ready ahead, and results are fetched once.

A number that is fetched from a GPU makes the processor wait for everything before it, and then the GPU for the
processor. So a step fetches what it found when all its micro-batches are done, in one copy.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

JobT = TypeVar("JobT")
ReadyT = TypeVar("ReadyT")

_AHEAD = 1


@contextmanager
def prefetch(
    jobs: Iterable[JobT], prepare: Callable[[JobT], ReadyT], *, device: torch.device, ahead: int | None = None
) -> Iterator[Iterator[ReadyT]]:
    """
    Open a context with an iterator over what `prepare` makes of each job, in order.

    For a GPU a thread of its own prepares the next job while the caller works on the one before; on a CPU, where the
    thread would only take time from the caller, jobs are prepared when they are asked for. An error of `prepare` is
    raised where its job would have come. At the end of the context, however it ends, nothing runs on.

    Args:
        jobs: what is to be done.
        prepare: makes one job ready, and copies it to the device.
        device: that the caller works on.
        ahead: jobs that are prepared before they are asked for; None for what suits the device.
    """
    ahead = ahead if ahead is not None else (_AHEAD if device.type == "cuda" else 0)
    if ahead == 0:
        yield map(prepare, jobs)
        return
    waiting: deque[Future[ReadyT]] = deque()
    # CUDA's current device is a property of each thread.
    start = (torch.cuda.set_device, (torch.cuda.current_device(),)) if device.type == "cuda" else (None, ())
    with ThreadPoolExecutor(1, "prefetch", *start) as thread:
        try:
            yield _in_order(jobs, lambda job: thread.submit(prepare, job), waiting, ahead)
        finally:
            for future in waiting:
                future.cancel()


def _in_order(
    jobs: Iterable[JobT], submit: Callable[[JobT], "Future[ReadyT]"], waiting: "deque[Future[ReadyT]]", ahead: int
) -> Iterator[ReadyT]:
    """Yield what is ready in the order of the jobs, with `ahead` of them submitted beyond the one that is asked for."""
    for job in jobs:
        waiting.append(submit(job))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def to_numpy(tensors: Sequence[Tensor]) -> list[NDArray[np.float64]]:
    """Return tensors of one dimension as float64 arrays, with one copy from their device."""
    if not tensors:
        return []
    # In float64 from here on: sums over a whole step come out the same however the step was split.
    flat = torch.cat([tensor.detach().double() for tensor in tensors]).cpu().numpy()
    return np.split(flat, np.cumsum([len(tensor) for tensor in tensors])[:-1])
