"""Work made ready ahead: the same things in the same order, and nothing runs on after an error or Ctrl-C."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from haloes.training.prefetch import prefetch, to_numpy

CPU = torch.device("cpu")
ways = pytest.mark.parametrize("ahead", [0, 1, 3])


def workers() -> int:
    return sum(thread.name.startswith("prefetch") for thread in threading.enumerate())


@ways
def test_jobs_come_in_order_and_each_once(ahead: int):
    prepared: list[int] = []

    def prepare(job: int) -> int:
        prepared.append(job)
        return job * job

    with prefetch(range(20), prepare, device=CPU, ahead=ahead) as ready:
        found = list(ready)

    assert found == [job * job for job in range(20)]
    assert prepared == list(range(20))
    assert workers() == 0


@pytest.mark.parametrize(("ahead", "expected"), [(0, 1), (1, 2), (3, 4)])
def test_so_many_jobs_are_made_ready_before_they_are_asked_for(ahead: int, expected: int):
    asked: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(10):
            asked.append(job)
            yield job

    with prefetch(jobs(), lambda job: job, device=CPU, ahead=ahead) as ready:
        next(ready)

        assert len(asked) == expected


def test_jobs_are_prepared_by_another_thread_while_the_caller_works():
    second_is_ready = threading.Event()

    def prepare(job: int) -> str:
        if job == 1:
            second_is_ready.set()
        return threading.current_thread().name

    with prefetch(range(2), prepare, device=CPU, ahead=1) as ready:
        first = next(ready)
        # The caller, who has not asked for the second, could not go on if nobody else prepared it.
        assert second_is_ready.wait(60)

    assert first.startswith("prefetch")


def test_on_a_cpu_no_thread_is_started():
    with prefetch(range(3), lambda _: threading.current_thread(), device=CPU) as ready:
        assert set(ready) == {threading.main_thread()}


@ways
def test_an_error_of_a_job_is_raised_in_its_turn(ahead: int):
    def prepare(job: int) -> int:
        if job == 2:
            raise ValueError("job 2")
        return job

    found: list[int] = []
    with (
        pytest.raises(ValueError, match="job 2"),
        prefetch(range(5), prepare, device=CPU, ahead=ahead) as ready,
    ):
        found.extend(ready)

    assert found == [0, 1]
    assert workers() == 0


@ways
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_when_the_caller_is_stopped_nothing_runs_on(ahead: int, error: type[BaseException]):
    prepared: list[int] = []

    def stopped() -> None:
        with prefetch(range(1000), prepared.append, device=CPU, ahead=ahead) as ready:
            next(ready)
            raise error

    with pytest.raises(error):
        stopped()

    assert len(prepared) <= 1 + ahead
    assert workers() == 0


def test_many_tensors_are_fetched_as_what_they_were():
    tensors = [torch.tensor([0.1, 2.0], requires_grad=True), torch.empty(0), torch.tensor([3.0], dtype=torch.float64)]

    found = to_numpy(tensors)

    assert [part.dtype for part in found] == [np.float64] * 3
    # A float32 keeps its own value, which is not 0.1.
    assert [part.tolist() for part in found] == [[float(np.float32(0.1)), 2.0], [], [3.0]]
    assert to_numpy([]) == []
