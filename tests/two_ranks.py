"""Work that is done once by one process and once by two; run as a script, it is one of the two."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from haloes.errors import Interrupted
from haloes.models.adapters import LoRA
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks, this_rank
from haloes.training.job import TrainJob
from haloes.training.metrics import step_metrics
from haloes.training.optimizer import make_masters
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from haloes.training.validation import make_schedule, validate
from training_jobs import EVERY, LOSSES, Row, disturb, make_job, make_stepper, policy_for, rows_for, thumbs, write_store


@dataclass(frozen=True)
class Case:
    """A step over two processes."""

    loss: str
    rows: list[Row]
    budget: int = 50
    lora: LoRA | None = None


CASES = {
    "kto": Case("kto", rows_for(LOSSES["kto"], 9)),
    "kto lora": Case("kto", rows_for(LOSSES["kto"], 9), lora=LoRA(rank=4)),
    "dpo": Case("dpo", rows_for(LOSSES["dpo"], 5)),
    "sft": Case("sft", rows_for(LOSSES["sft"], 5)),
    "a reference that is synced": Case("humanline", rows_for(EVERY["humanline"], 9)),
    # With a budget of one token every row is a micro-batch, and goes to the processes in turn.
    "one label each": Case("kto", thumbs(2), budget=1),
    "a process without rows": Case("kto", thumbs(3), budget=1),
}


def make_stores(folder: Path) -> None:
    """The data of all cases and of the whole run, for all processes."""
    for name, case in CASES.items():
        write_store(folder / name, case.rows, paired=EVERY[case.loss].needs.pairs)
    write_store(folder / "train", rows_for(LOSSES["kto"], 12))
    write_store(folder / "held out", rows_for(LOSSES["kto"], 5, seed=1))


def steps(folder: Path, ranks: Ranks) -> Iterator[tuple[str, dict[str, Any]]]:
    """What every case's step comes to, by the name of the case: table, metrics, and gradients after their sum."""
    for name, case in CASES.items():
        loss = EVERY[case.loss]
        store = TokenStore(folder / name)
        policy = disturb(policy_for(loss, lora=case.lora), seed=12)
        stepper = make_stepper(policy, loss, store, budget=case.budget, ranks=ranks)
        masters = make_masters(policy.trainable())
        batch_size = 1 if name == "a process without rows" else 32
        table = stepper.run(make_schedule(stepper, batch_size=batch_size, epochs=1, seed=0).step(0), backward=True)
        gradients = masters.gradients()
        ranks.sum_each(gradients)
        found: dict[str, Any] = {"loss": table.loss, "logp": table.logp, "weight": table.weight}
        found |= {f"metric {key}": value for key, value in step_metrics(table, store).items()}
        found |= {f"gradient {i}": gradient.numpy() for i, gradient in enumerate(gradients)}
        masters.release()
        start = None if loss.needs.any_reference else np.zeros(len(store))
        validation = validate(stepper, batch_size=2, seed=0, logp_before=start)
        found |= {f"validation {key}": value for key, value in validation.metrics().items()}
        yield name, found


def whole_run(folder: Path, run_dir: Path, ranks: Ranks, *, stop_on: int | None = None) -> TrainJob:
    """A run of six steps, which process `stop_on` is asked to stop after the first."""
    job = make_job(
        run_dir,
        LOSSES["kto"],
        train=TokenStore(folder / "train"),
        validation=TokenStore(folder / "held out"),
        settings=TrainSettings(lr=1e-3, batch_size=4, epochs=2, microbatch_tokens=50, validate_every=4),
        ranks=ranks,
        cache=ReferenceCache(run_dir / "cache"),
        stop=lambda: ranks.index == stop_on,
    )
    try:
        train(job)
    except Interrupted as stopped:
        if ranks.is_main:
            (run_dir / "stopped").write_text(str(stopped.step))
    return job


def main(folder: Path) -> None:
    """Do everything as one of two processes."""
    torch.set_num_threads(1)
    ranks = this_rank(torch.device("cpu"))
    for name, found in steps(folder, ranks):
        np.savez(folder / f"{name} {ranks.index}.npz", **found)
    whole_run(folder, folder / "run of two", ranks)
    whole_run(folder, folder / "stopped run", ranks, stop_on=1)
    (folder / f"count {ranks.index}").write_text(str(ranks.count))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
