"""haloes' side of the comparison: one process, some steps of the trainer with the embedded model."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from benchmarks.piece import (
    BETA,
    LEARNING_RATE,
    LORA_LAYERS,
    LORA_RANK,
    MAX_GRAD_NORM,
    Found,
    Task,
    peak_gib,
    read_task,
    write,
)
from benchmarks.rows import SEED, schedule_of, tokens_of_steps

from haloes.batches.collate import packed_rows
from haloes.losses.make import make_loss
from haloes.models.adapters import LoRA
from haloes.models.device import choose_dtype
from haloes.models.load import load_model
from haloes.models.policy import Policy, make_policy
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks
from haloes.training.job import TrainJob
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train


class Measured(Exception):  # noqa: N818 - it is what happened, not an error
    """All steps are done."""


class Clock:
    """Looks on as the trainer works, and notes how long each step took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._num_steps, self._lap = 0, 0.0

    def on_start(self, *, step: int, num_steps: int) -> None:
        self._num_steps = num_steps - step
        self._lap = time.perf_counter()

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        del numbers
        now = time.perf_counter()
        self.seconds.append(now - self._lap)
        self._lap = now
        if len(self.seconds) == self._num_steps:
            raise Measured


def measure(task: Task) -> Found:
    """Train and time."""
    torch.set_num_threads(task.threads)
    policy, dtype = loaded_policy(task)
    store = TokenStore(Path(task.folder) / "store")
    warm_up(policy, store)
    clock = Clock()
    # The checkpoint after the last step is not part of a step, and TRL writes none here either.
    with TemporaryDirectory() as run_dir, suppress(Measured):
        train(job_of(task, policy, store, Path(run_dir)), [clock])
    schedule = schedule_of(store, task.batch_size, epochs=task.epochs)
    return Found(
        seconds=clock.seconds,
        tokens=tokens_of_steps(store, schedule),
        peak_gib=peak_gib(),
        dtype=str(dtype).removeprefix("torch."),
    )


def loaded_policy(task: Task) -> tuple[Policy, torch.dtype]:
    """Load the embedded model with its reference."""
    device = torch.device("cpu")
    dtype = choose_dtype(task.dtype, device)
    loaded = load_model("embedded", dtype=dtype, device=device)
    lora = LoRA(rank=LORA_RANK, targets=list(LORA_LAYERS)) if task.lora else None
    return make_policy(loaded.model, lora=lora, reference=True, seed=SEED), dtype


def warm_up(policy: Policy, store: TokenStore) -> None:
    """Run four rows forwards and backwards: what a library does only once is not what a step costs."""
    packed = packed_rows([store.read(i) for i in range(4)], policy.device)
    policy.token_logps(packed).sum().backward()
    policy.model.zero_grad(set_to_none=True)


def job_of(task: Task, policy: Policy, store: TokenStore, run_dir: Path) -> TrainJob:
    """Return the trainer's job."""
    settings = TrainSettings(
        lr=LEARNING_RATE,
        batch_size=task.batch_size,
        epochs=task.epochs,
        warmup=0.0,
        schedule="constant",
        max_grad_norm=MAX_GRAD_NORM,
        checkpoint_every=10**6,
        seed=SEED,
        prompts_together=True,
    )
    return TrainJob(
        policy=policy,
        loss=make_loss(task.loss, {"beta": BETA}),
        train=store,
        validation=None,
        settings=settings,
        run_dir=run_dir,
        identity={},
        ranks=Ranks(0, 1),
        cache=ReferenceCache(Path(task.reference_cache)),
        measure=lambda *_: {},
        stop=lambda: False,
    )


if __name__ == "__main__":
    task, path = read_task()
    write(measure(task), path)
