"""Several calls at once, for work that waits on the network."""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Generator[tuple[int, Result], None, None]:
    """
    Yield each item's index and the function's result for it, as soon as it is there.

    An exception of the function is raised here, and nothing further is begun; nor is it when the iterator is closed.
    Nothing waits for calls that are under way then (the threads are daemons), so that Ctrl-C is obeyed at once.

    Args:
        function: called from several threads.
        items: begun in this order.
        workers: most calls at once.
    """
    # Plain threads: a pool of the standard library joins its threads at exit, and Ctrl-C would wait for the network.
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[int, Result | None, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()
    for place in range(len(items)):
        places.put(place)

    def work() -> None:
        while not stopped.is_set():
            try:
                place = places.get_nowait()
            except queue.Empty:
                return
            try:
                results.put((place, function(items[place]), None))
            except BaseException as error:  # noqa: BLE001 - raised again where the results are read
                stopped.set()
                results.put((place, None, error))

    for _ in range(min(workers, len(items))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in items:
            place, result, error = results.get()
            if error is not None:
                raise error
            yield place, result  # type: ignore[misc]
    finally:
        stopped.set()
