"""Checkpoints that are written while the next steps run: what is written is what was, and whoever needs it waits."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from haloes.errors import RunError
from haloes.training import checkpoint, shard_files, write_behind
from haloes.training.distributed import Ranks
from haloes.training.save_checkpoint import Snapshot, save, snapshot
from haloes.training.write_behind import CheckpointWriter
from tiny_checkpoints import IDENTITY, make, names, take_steps, taken, weights

ALONE = Ranks(0, 1)
SECONDS = 60.0


class Gate:
    """The place where files are written: whoever comes there waits while it is closed."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self.threads: set[int] = set()
        self.written: list[dict[str, int]] = []
        """Where in memory the tensors of each file were."""
        self._write = shard_files.save_file

    def __call__(self, tensors: dict[str, torch.Tensor], *args: Any, **more: Any) -> None:
        self.threads.add(threading.get_ident())
        self.written.append({name: tensor.data_ptr() for name, tensor in tensors.items()})
        self.reached.set()
        assert self._open.wait(SECONDS)
        self._write(tensors, *args, **more)

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    def close(self) -> None:
        """Hold whoever comes from now on."""
        self._open.clear()
        self.reached.clear()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A closed one."""
    closed = Gate()
    monkeypatch.setattr(shard_files, "save_file", closed)
    yield closed
    closed.open()


@pytest.fixture
def writer() -> Iterator[CheckpointWriter]:
    """One process's, which always writes behind."""
    with closing(CheckpointWriter(ALONE, ALONE, behind=True)) as made:
        yield made


def nothing() -> None:
    """What is done once a checkpoint is complete, where nothing is."""


def of_step(step: int) -> Snapshot:
    return taken(step, *make(steps=2))


def write(writer: CheckpointWriter, folder: Path, step: int, *, then: Callable[[], None] = nothing) -> None:
    writer.save(folder, of_step(step), keep=1, then=then)


def fill_disk(patch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(shard_files, "save_file", full)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_written_is_what_was_when_it_was_saved(
    dtype: torch.dtype, tmp_path: Path, gate: Gate, writer: CheckpointWriter
):
    masters, optimizer = make(steps=2, dtype=dtype)
    then = weights(masters)
    writer.save(tmp_path, taken(2, masters, optimizer), keep=1, then=nothing)
    assert gate.reached.wait(SECONDS)

    take_steps(masters, optimizer, 3)
    gate.open()
    writer.wait()

    assert weights(masters) != then
    assert threading.get_ident() not in gate.threads
    found, _ = checkpoint.newest(tmp_path)
    assert found is not None
    restored, moments = make(dtype=dtype)
    checkpoint.restore(found, restored, moments)
    assert weights(restored) == then
    # With the moments of then: the same steps lead to the same place.
    take_steps(restored, moments, 3)
    assert weights(restored) == weights(masters)


def test_the_state_of_a_loss_is_what_it_was_too(tmp_path: Path, gate: Gate, writer: CheckpointWriter):
    masters, optimizer = make(steps=1)
    state = {"reference/a": torch.tensor([1.0, 2.0])}
    now = snapshot(step=1, masters=masters, optimizer=optimizer, loss_state=state, identity=IDENTITY)
    writer.save(tmp_path, now, keep=1, then=nothing)
    assert gate.reached.wait(SECONDS)
    state["reference/a"].zero_()
    gate.open()
    writer.wait()

    found, _ = checkpoint.newest(tmp_path)
    assert found is not None
    assert checkpoint.restore(found, masters, optimizer)["reference/a"].tolist() == [1.0, 2.0]


def test_until_it_is_complete_the_one_before_stays_and_is_the_newest(
    tmp_path: Path, gate: Gate, writer: CheckpointWriter
):
    done: list[str] = []
    gate.open()
    write(writer, tmp_path, 10)
    writer.wait()
    gate.close()
    write(writer, tmp_path, 20, then=lambda: done.extend(names(tmp_path)))
    assert gate.reached.wait(SECONDS)
    writer.look()

    assert names(tmp_path) == [".partial-00000020", "step-00000010"]
    assert done == []
    gate.open()
    writer.wait()
    assert names(tmp_path) == done == ["step-00000020"]


def test_the_next_one_waits_for_the_one_before(tmp_path: Path, gate: Gate, writer: CheckpointWriter):
    write(writer, tmp_path, 10)
    threading.Timer(0.05, gate.open).start()

    write(writer, tmp_path, 20)

    assert "step-00000010" in names(tmp_path)
    writer.wait()
    assert names(tmp_path) == ["step-00000020"]


def test_the_best_and_the_newest_of_one_step_share_their_copy_and_come_in_their_order(
    tmp_path: Path, gate: Gate, writer: CheckpointWriter
):
    order: list[str] = []
    for kind in ("best", "newest"):
        write(writer, tmp_path / kind, 10, then=lambda kind=kind: order.append(kind))  # type: ignore[misc]
    gate.open()
    writer.wait()

    assert order == ["best", "newest"]
    assert gate.written[:3] == gate.written[3:]
    files = [{file.name: file.read_bytes() for file in (tmp_path / kind / "step-00000010").iterdir()} for kind in order]
    assert files[0] == files[1]


def test_a_full_disk_is_told_at_the_next_look_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: CheckpointWriter
):
    write(writer, tmp_path, 10)
    writer.wait()
    with monkeypatch.context() as patch:
        fill_disk(patch)
        write(writer, tmp_path, 20)
        with pytest.raises(RunError, match=r"checkpoint of step 20 cannot be written to .*No space left.*free some"):
            writer.wait()

    assert names(tmp_path) == ["step-00000010"]


def test_nothing_is_written_after_what_could_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate, writer: CheckpointWriter
):
    done: list[str] = []
    write(writer, tmp_path / "best", 10, then=lambda: done.append("best"))
    write(writer, tmp_path / "newest", 10, then=lambda: done.append("newest"))
    assert gate.reached.wait(SECONDS)
    # The folder of the first goes away under the writer.
    (tmp_path / "best" / ".partial-00000010").rename(tmp_path / "gone")
    gate.open()

    with pytest.raises(RunError, match="checkpoint of step 10 cannot be written"):
        writer.wait()
    writer.close()
    assert done == []
    assert checkpoint.newest(tmp_path / "newest") == (None, [])


def test_a_writer_that_is_closed_after_an_error_has_written_what_it_began(tmp_path: Path, gate: Gate):
    with suppress(KeyError), closing(CheckpointWriter(ALONE, ALONE, behind=True)) as writer:
        write(writer, tmp_path, 10)
        gate.open()
        raise KeyError

    assert names(tmp_path) == ["step-00000010"]


@pytest.mark.parametrize(
    ("sizes", "waits"),
    [((10**9, 10**9), False), ((100, 10**9), True), ((-1, 10**9), True), ((10**9, 100), True)],
    ids=["room", "little room", "no room", "large"],
)
def test_by_itself_it_writes_behind_where_twice_the_copy_is_free_and_small_on_a_cpu(
    sizes: tuple[int, int], waits: bool, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write_behind, "room", lambda: sizes[0])
    monkeypatch.setattr(write_behind, "_SMALL", sizes[1])
    masters, optimizer = make(steps=2)
    if waits:
        gate.open()
    with closing(CheckpointWriter(ALONE, ALONE, behind="auto")) as writer:
        writer.save(tmp_path, taken(2, masters, optimizer), keep=1, then=nothing)

        assert (names(tmp_path) == ["step-00000002"]) == waits
        assert gate.reached.wait(SECONDS)
        own = {name: weight.data_ptr() for name, weight in masters.weights.items()}
        assert (gate.written[0] == own) == waits
        gate.open()


def test_what_is_not_in_host_memory_is_not_on_a_cpu():
    assert of_step(2).is_on_cpu
    elsewhere = shard_files.HeldTensors({"a": torch.empty(2, device="meta")}, {})
    assert not replace(of_step(2), tensors={"weights": elsewhere}).is_on_cpu


def test_a_run_that_waits_has_written_when_it_goes_on(tmp_path: Path):
    with closing(CheckpointWriter(ALONE, ALONE, behind=False)) as writer:
        write(writer, tmp_path / "writer", 10)

        assert names(tmp_path / "writer") == ["step-00000010"]
    plain = save(tmp_path / "plain", of_step(10), keep=1)
    assert all(
        (tmp_path / "writer" / "step-00000010" / file.name).read_bytes() == file.read_bytes()
        for file in plain.iterdir()
    )


def test_a_process_that_writes_none_waits_for_none(tmp_path: Path):
    with closing(CheckpointWriter(ALONE, None, behind=True)) as writer:
        write(writer, tmp_path, 10)
        writer.look()
        writer.wait()

    assert names(tmp_path) == []


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_room_is_what_is_free_beside_the_most_that_was_held(
    platform: str, unit: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write_behind, "free_memory", lambda _: 10**9)
    monkeypatch.setattr(write_behind.sys, "platform", platform)
    monkeypatch.setattr(write_behind.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=5000))

    assert write_behind.room() == 10**9 - 5000 * unit
