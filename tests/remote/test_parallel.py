"""Calls at once: all results, the first error, and nothing begun after the end."""

import threading

import pytest

from haloes.remote.parallel import in_parallel


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_every_item_has_its_result_with_its_place(workers: int):
    found = dict(in_parallel(lambda x: x * x, [3, 4, 5, 6], workers=workers))

    assert found == {0: 9, 1: 16, 2: 25, 3: 36}


def test_no_items_no_results():
    assert list(in_parallel(lambda x: x, [], workers=2)) == []


def test_calls_are_made_at_once():
    both = threading.Barrier(2, timeout=20)  # passed only if two calls are under way together

    assert len(list(in_parallel(lambda _: both.wait(), [1, 2], workers=2))) == 2


def test_an_error_is_raised_and_nothing_further_is_begun():
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        list(in_parallel(fail, list(range(100)), workers=1))
    assert begun == [0]


def test_nothing_is_begun_after_the_iterator_was_closed():
    begun: list[int] = []
    go = threading.Semaphore(1)

    def work(item: int) -> int:
        go.acquire(timeout=20)
        begun.append(item)
        return item

    results = in_parallel(work, list(range(10)), workers=1)
    assert next(results) == (0, 0)
    results.close()
    for _ in range(10):
        go.release()
    assert set(begun) <= {0, 1}
