"""
Checkpoints that some processes write and others read: a script, so that it can fork.

    python tests/elastic_script.py FOLDER

One, two and four processes write checkpoints `N`, and what is in them as `N.npz`; one to four read each of them, and
write what they found as `M reads N.npz`. "2x2" are four of which each two hold a copy of the weights together.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import peft  # noqa: F401 - once, and not in every process
import pytest
import torch
import torch.distributed.fsdp
import torch.distributed.tensor

from fakes import tiny_model
from forked_ranks import mesh_of, together
from haloes.batches.collate import packed_rows
from haloes.models.adapters import LoRA
from haloes.models.policy import make_policy
from haloes.models.references import SyncedReference
from haloes.models.sharded import shard_policy
from haloes.models.weight_shards import whole
from haloes.tokens.store import TokenStore
from haloes.training import checkpoint
from haloes.training.distributed import Ranks, this_rank
from haloes.training.optimizer import make_masters, make_optimizer
from haloes.training.process_group import ProcessGroup
from haloes.training.save_checkpoint import Snapshot, save, snapshot
from haloes.training.settings import TrainSettings
from haloes.training.update import update
from training_jobs import thumbs, write_store

COPIES = "2x2"
WRITERS, READERS = ("1", "2", "4", COPIES), ("1", "2", "3", "4", COPIES)
WAYS = {"all weights": None, "adapters": LoRA(rank=3)}
STEPS = 2


class Training:
    """A policy with a value head and a synced reference, and all that a checkpoint keeps of it."""

    def __init__(self, folder: Path, ranks: Ranks, way: str) -> None:
        # Weights whose rows are no multiple of the processes; fewer rows than there are processes.
        model = tiny_model("llama", intermediate_size=49)
        policy = make_policy(model, lora=WAYS[way], reference=True, seed=0, synced=True, values=True)
        self.policy = policy if ranks.group is None else shard_policy(policy, mesh_of(ranks.group))
        self.masters = make_masters(self.policy.trainable())
        self.optimizer = make_optimizer(self.masters, TrainSettings(lr=1e-2))
        self.ranks, self.rows = ranks, TokenStore(folder / "rows")
        assert isinstance(self.policy.reference, SyncedReference)
        self.reference = self.policy.reference

    def step(self, number: int) -> float:
        """Take a step, and return its norm."""
        packed = packed_rows([self.rows.read(i) for i in range(4)], self.policy.device)
        scores = self.policy.token_scores(packed)
        assert scores.logp is not None
        assert scores.value is not None
        # All processes have the same rows here: each counts one part of them.
        total = -(scores.logp.sum() + (scores.value - 1).square().sum()) / self.ranks.count
        total.backward()
        self.ranks.sum_each(self.masters.own_gradients())
        return update(self.masters, self.optimizer, 1e-2, 1.0, step=number + 1)

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        save(folder, self.taken(), keep=1)

    def taken(self) -> Snapshot:
        """What a checkpoint keeps now."""
        return snapshot(
            step=STEPS,
            masters=self.masters,
            optimizer=self.optimizer,
            loss_state=self.reference.state(),
            identity={},
            ranks=self.ranks,
        )

    def restore(self, folder: Path) -> None:
        """Read it."""
        saved, damaged = checkpoint.newest(folder)
        assert saved is not None
        assert not damaged
        self.reference.restore(checkpoint.restore(saved, self.masters, self.optimizer, self.reference.state()))

    def content(self) -> Iterator[tuple[str, Any]]:
        """All that a checkpoint keeps, whole."""
        for name, weight in self.masters.weights.items():
            yield f"weight {name}", whole(weight)
            for key, value in self.optimizer.state[weight].items():
                yield f"{key} {name}", whole(value)
        for name, weight in self.reference.state().items():
            yield f"reference {name}", whole(weight)


def write(folder: Path, name: str) -> None:
    """Train two steps, and write a checkpoint, as one of several processes."""
    ranks = _rank()
    for way in WAYS:
        training = Training(folder, ranks, way)
        for number in range(STEPS):
            training.step(number)
            if number == 0:
                training.reference.sync()
        training.save(folder / way / name)
        _dump(folder / f"{way} {name}.npz", training, ranks)


def read(folder: Path, name: str) -> None:
    """Read every checkpoint, and go on with it, as one of several processes."""
    ranks = _rank()
    for way in WAYS:
        for writers in WRITERS:
            training = Training(folder, ranks, way)
            training.restore(folder / way / writers)
            _dump(folder / f"{way} {name} reads {writers}.npz", training, ranks)


def _do(work: Callable[[Path, str], None], folder: Path, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if name == COPIES:
            patch.setattr(ProcessGroup, "mesh", partialmethod(ProcessGroup.mesh, over=2))
        work(folder, name)


def _rank() -> Ranks:
    torch.set_num_threads(1)
    return this_rank(torch.device("cpu"))


def _dump(path: Path, training: Training, ranks: Ranks) -> None:
    """Write what is there, and the norm of the step that comes next."""
    found = {name: value.numpy().copy() for name, value in training.content()}
    found["next norm"] = np.array(training.step(STEPS))
    if ranks.is_main:
        np.savez(path, **found)


def main(folder: Path) -> None:
    """Write with one, two and four processes, then read with one to four."""
    write_store(folder / "rows", thumbs(4))
    for work, names in ((write, WRITERS), (read, READERS)):
        for name in names:
            codes = together(partial(_do, work, folder, name), 4 if name == COPIES else int(name))
            assert not any(codes), (work, name, codes)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
