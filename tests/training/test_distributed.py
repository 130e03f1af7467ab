"""The processes of a run, as far as one process can show; two of them are in test_two_processes.py."""

import socket

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import ProcessEnded
from haloes.training import distributed as ranks_module
from haloes.training import process_group
from haloes.training.distributed import Ranks, this_rank


@given(st.lists(st.integers()), st.integers(1, 5))
def test_shares_are_disjoint_and_make_up_the_whole(items: list[int], count: int):
    shares = [Ranks(index, count).shard(list(enumerate(items))) for index in range(count)]

    assert sorted(item for share in shares for item in share) == list(enumerate(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_is_main_and_its_sums_are_its_own_numbers():
    alone = Ranks(0, 1)
    tensors = [torch.tensor([1.0]), torch.tensor([[2.0], [3.0]])]

    alone.sum_each(tensors)
    alone.barrier()

    assert alone.is_main
    assert [tensor.tolist() for tensor in tensors] == [[1.0], [[2.0], [3.0]]]
    assert alone.sum(tensors[0]) is tensors[0]
    assert alone.any(True)
    assert not alone.any(False)
    assert alone.broadcast("x") == alone.from_main(lambda: "x") == "x"
    assert alone.gather(b"x") == [b"x"]


def test_the_first_process_alone_is_main():
    assert [Ranks(index, 3).is_main for index in range(3)] == [True, False, False]


class Twin:
    """A stand-in for the connection with another process, which holds the same numbers as this one."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def add_up(self, tensor: torch.Tensor, *, longest: float) -> None:
        self.calls.append(len(tensor))
        tensor *= 2


def test_many_small_tensors_are_summed_with_few_calls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks_module, "_BUCKET", 4)
    tensors = [torch.full(shape, float(i)) for i, shape in enumerate([(2,), (1, 2), (7,), (), (3,)], start=1)]
    twin = Twin()

    Ranks(0, 2, twin).sum_each(tensors)

    assert twin.calls == [4, 7, 4]
    assert [tensor.unique().tolist() for tensor in tensors] == [[2.0], [4.0], [6.0], [8.0], [10.0]]
    assert [tuple(tensor.shape) for tensor in tensors] == [(2,), (1, 2), (7,), (), (3,)]


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    assert this_rank(torch.device("cpu")) == Ranks(0, 1)


def test_who_finds_that_what_started_it_is_gone_has_the_last_word_at_once(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for name, value in {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": "1",
        "WORLD_SIZE": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }.items():
        monkeypatch.setenv(name, value)
    process_group._store.cache_clear()

    assert process_group.last_word(130) == (130, True)
    with pytest.raises(ProcessEnded, match="what started this process is gone"):
        this_rank(torch.device("cpu"))
