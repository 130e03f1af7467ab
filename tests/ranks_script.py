"""
Runs of several processes that stop, end and go on: a script, so that it can fork.

    python tests/ranks_script.py FOLDER

It leaves the runs in the folder, and what became of the processes in `found.json`.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from forked_ranks import begun_together, ended, together
from haloes.cli.main import main as haloes
from haloes.errors import Interrupted
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.store import TokenStore
from haloes.training.cut import Cut, never
from haloes.training.distributed import Ranks, this_rank
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from tiny_runs import flags, save_model, thumbs, write_rows
from training_jobs import LOSSES, let_layouts_round, make_job, policy_for, rows_for, write_store

EVERY_STEP, NO_STEP = 1, 1000


def train_part(
    folder: Path,
    run: str,
    *,
    stop_after: int | None = None,
    cut_after: int | None = None,
    rounded: bool = True,
) -> None:
    """
    Train a run of eight steps over two epochs as one of several processes, or the part of it that is left.

    Args:
        folder: of all runs.
        run: the run's name.
        stop_after: the last process is asked to stop after this many steps of this part.
        cut_after: the last process gives the step up that it is in when it has been asked this often.
        rounded: whether a model's numbers depend on what shares a pass, as in bfloat16.
    """
    torch.set_num_threads(1)
    ranks, run_dir, asked = this_rank(torch.device("cpu")), folder / run, count(1)
    is_last = ranks.index == ranks.count - 1
    cut: Cut = never if cut_after is None else (lambda: is_last and next(asked) > cut_after)
    policy = policy_for(LOSSES["kto"])
    with pytest.MonkeyPatch.context() as patch:
        if rounded:
            let_layouts_round(patch)
        job = make_job(
            run_dir,
            LOSSES["kto"],
            policy=policy,
            train=TokenStore(folder / "rows"),
            validation=TokenStore(folder / "held out"),
            settings=TrainSettings(
                lr=1e-3, batch_size=5, epochs=2, microbatch_tokens=40, validate_every=3, checkpoint_every=NO_STEP
            ),
            ranks=ranks,
            cache=_cache(run_dir / "cache", ranks),
            stop=lambda: stop_after is not None and is_last and next(asked) >= stop_after,
            cut=cut,
        )
        try:
            train(job)
        except Interrupted as stopped:
            if ranks.is_main:
                (run_dir / "stopped").write_text(str(stopped.step))


def _cache(folder: Path, ranks: Ranks) -> ReferenceCache:
    """The reference cache as a run opens it."""
    cache = ReferenceCache(folder) if ranks.is_main else None
    known = ranks.gather(b"" if cache is None else cache.to_bytes())[0]
    return ReferenceCache(folder, known) if cache is None else cache


def runs(folder: Path) -> None:
    """Runs of two processes: uninterrupted, and stopped or cut short and resumed by two, by one and by four."""
    write_store(folder / "rows", rows_for(LOSSES["kto"], 20))
    write_store(folder / "held out", rows_for(LOSSES["kto"], 5, seed=1))
    work = partial(train_part, folder)
    for name, rounded in (("whole", True), ("whole exact", False)):
        _all_well(together(partial(work, name, rounded=rounded), 2))
    _all_well(together(partial(work, "stopped", stop_after=5), 2))
    _all_well(together(partial(work, "stopped"), 2))
    _all_well(together(partial(work, "cut", cut_after=30), 2))
    _all_well(together(partial(work, "cut"), 2))
    _all_well(together(partial(work, "on one", stop_after=5, rounded=False), 2))
    shutil.copytree(folder / "on one", folder / "on four")
    _all_well(together(partial(work, "on one", rounded=False), 1))
    _all_well(together(partial(work, "on four", rounded=False), 4))


def endings(folder: Path) -> dict[str, Any]:
    """What becomes of two processes when one of them fails, is stopped or is killed."""
    os.environ["HALOES_CACHE"] = str(folder / "cache of commands")
    model = save_model(folder / "model")
    rows = write_rows(folder / "rows.jsonl", thumbs(40))
    small = {"samples__prompts": "0", "train__microbatch_tokens": "64"}

    def command(name: str, rows: Path, **settings: str) -> Callable[[], None]:
        arguments = ["train", str(rows), "--out", str(folder / name), *flags(model, **small | settings)]
        return partial(haloes, arguments)

    def said(name: str) -> Path:
        return folder / f"{name}.txt"

    found: dict[str, Any] = {}
    faulty = write_rows(folder / "faulty.jsonl", [*thumbs(4), {"prompt": "Is it?", "completion": "yes", "label": "?"}])
    found["error of the main process"] = together(command("a", faulty), 2, said=said("a"))
    found["error of both"] = together(command("b", rows, **{"loss.name": "no-such"}), 2, said=said("b"))
    long = {"train__epochs": "30", "train__checkpoint_every": str(NO_STEP), "train__keep_checkpoints": "1"}
    for name, number in (("terminated", signal.SIGTERM), ("killed", signal.SIGKILL)):
        children = begun_together(command(name, rows, **long), 2, said=said(name))
        _wait_until(lambda name=name: len(_steps(folder / name)) > 2, children)
        os.kill(children[1], number)
        found[name] = [ended(child) for child in children]
    return {name: {"codes": codes} for name, codes in found.items()}


def _steps(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "metrics.jsonl"
    return read_metrics(path) if path.exists() else []


def _wait_until(is_so: Callable[[], bool], children: Sequence[int]) -> None:
    """Wait until something is so; where it does not come to pass, end the processes."""
    end = time.monotonic() + 300
    while not is_so():
        if time.monotonic() > end:
            for child in children:
                os.kill(child, signal.SIGKILL)
            raise TimeoutError("the run did not come to its steps")
        time.sleep(0.01)


def _all_well(codes: Sequence[int]) -> None:
    assert not any(codes), codes


if __name__ == "__main__":
    place = Path(sys.argv[1])
    runs(place)
    (place / "found.json").write_text(json.dumps(endings(place)))
