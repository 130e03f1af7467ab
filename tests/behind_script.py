"""
Runs that are killed, fail or are stopped while a checkpoint is written behind their steps: a script, so it can fork.

    python tests/behind_script.py FOLDER

It leaves the runs in the folder, and what became of them in `found.json`.
"""

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import peft  # noqa: F401 - once, and not in every process
import pytest
import torch
import torch.distributed.fsdp
import torch.distributed.tensor

from forked_ranks import begun_together, ended, together
from haloes.errors import Interrupted
from haloes.models.sharded import shard_policy
from haloes.tokens.store import TokenStore
from haloes.training import shard_files
from haloes.training.distributed import this_rank
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from training_jobs import LOSSES, make_job, policy_for, rows_for, write_store

KINDS = {"alone": (1, False), "replicas": (2, False), "shards": (2, True)}
"""Processes, and whether they share the weights."""
SAVED, HELD, STEPS = 3, 6, 8
"""A checkpoint that is complete, the one whose writing is held up, and the last step."""


def train_part(
    folder: Path, run: str, *, shards: bool, held: int | None = None, full: int | None = None, stop: bool = False
) -> None:
    """
    Train a run of eight steps, with a checkpoint after every third, or the part of it that is left.

    Args:
        folder: of all runs.
        run: the run's name.
        shards: whether the processes share the weights.
        held: this process comes to the files of the held checkpoint and does not get further.
        full: this process has no room on the disk for the files of that checkpoint.
        stop: the run is asked to stop after the step that follows the held one, whose files are written meanwhile.
    """
    torch.set_num_threads(1)
    ranks, run_dir = this_rank(torch.device("cpu")), folder / run
    policy = policy_for(LOSSES["kto"])
    if shards and ranks.group is not None:
        policy = shard_policy(policy, ranks.group.mesh())
    job = make_job(
        run_dir,
        LOSSES["kto"],
        policy=policy,
        train=TokenStore(folder / "train"),
        settings=TrainSettings(
            lr=1e-3, batch_size=5, epochs=2, microbatch_tokens=40, checkpoint_every=3, save_while_training=True
        ),
        ranks=ranks,
        stop=lambda: stop and _lines(run_dir) > HELD,
    )
    with pytest.MonkeyPatch.context() as patch:
        _slip(patch, {held: _never_ends, full: _no_room}.get(ranks.index))
        try:
            train(job)
        except Interrupted as stopped:
            (run_dir / f"stopped-{ranks.index}").write_text(str(stopped.step))


def _slip(patch: pytest.MonkeyPatch, fault: Callable[[Path], None] | None) -> None:
    """Let something happen where the files of the held checkpoint would be written."""
    write = shard_files.save_file

    def slipped(tensors: Any, path: Path, **more: Any) -> None:
        if fault is not None and path.parent.name.endswith(f"{HELD:08d}"):
            fault(path)
        write(tensors, path, **more)

    patch.setattr(shard_files, "save_file", slipped)


def _never_ends(path: Path) -> None:
    path.write_bytes(b"half of it")
    threading.Event().wait()


def _no_room(_: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lines(run_dir: Path) -> int:
    path = run_dir / "metrics.jsonl"
    return len(read_metrics(path)) if path.exists() else 0


def _there(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def killed(folder: Path, kind: str) -> dict[str, Any]:
    """Kill a process whose checkpoint is being written when the steps behind it are done, and resume."""
    processes, shards = KINDS[kind]
    run, index = folder / f"{kind} killed", processes - 1 if shards else 0
    work = partial(train_part, folder, run.name, shards=shards)
    children = begun_together(partial(work, held=index), processes, said=folder / f"{run.name}.txt")
    end = time.monotonic() + 200
    while _lines(run) < STEPS and time.monotonic() < end:
        time.sleep(0.01)
    there = _there(run)
    os.kill(children[index], signal.SIGKILL)
    codes = [ended(child) for child in children]
    left = _there(run)
    return {"steps": _lines(run), "there": there, "codes": codes, "left": left, "resumed": together(work, processes)}


def full(folder: Path, kind: str) -> dict[str, Any]:
    """Let one process run out of room behind its steps, then resume."""
    processes, shards = KINDS[kind]
    run = folder / f"{kind} full"
    work = partial(train_part, folder, run.name, shards=shards)
    said = folder / f"{run.name}.txt"
    codes = together(partial(work, full=processes - 1 if shards else 0), processes, said=said)
    return {"codes": codes, "said": said.read_text(), "left": _there(run), "resumed": together(work, processes)}


def stopped(folder: Path, kind: str) -> dict[str, Any]:
    """Stop a run whose checkpoint of the step before is on its way, then resume."""
    processes, shards = KINDS[kind]
    run = folder / f"{kind} stopped"
    work = partial(train_part, folder, run.name, shards=shards)
    codes = together(partial(work, stop=True), processes)
    steps = [int((run / f"stopped-{i}").read_text()) for i in range(processes)]
    return {"codes": codes, "steps": steps, "left": _there(run), "resumed": together(work, processes)}


def main(folder: Path) -> None:
    """Do all of it with one process, with two, and with two that share the weights."""
    write_store(folder / "train", rows_for(LOSSES["kto"], 20))
    found: dict[str, Any] = {}
    for kind, (processes, shards) in KINDS.items():
        assert not any(together(partial(train_part, folder, f"{kind} whole", shards=shards), processes))
        for ending in (killed, full, stopped):
            found[f"{kind} {ending.__name__}"] = ending(folder, kind)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
