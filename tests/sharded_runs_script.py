"""
Whole runs whose processes share the weights, and the same runs of one process: a script, so that it can fork.

    python tests/sharded_runs_script.py FOLDER

It leaves the runs in the folder, and what the commands of two said in `NAME of two.txt`.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import peft  # noqa: F401 - once, and not in every process
import pytest
import torch
import torch.distributed.fsdp
import torch.distributed.tensor
from safetensors.torch import save_file

from forked_ranks import together
from haloes.cli.main import main as haloes
from haloes.errors import Interrupted
from haloes.models.reference_cache import ReferenceCache
from haloes.models.sharded import shard_policy
from haloes.models.weight_shards import whole
from haloes.runs import setup
from haloes.tokens.store import TokenStore
from haloes.training.cut import Cut, never
from haloes.training.distributed import this_rank
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from tiny_runs import flags, pairs, save_model, thumbs, write_rows
from training_jobs import LOSSES, make_job, policy_for, rows_for, write_store

ADAPTERS = "model.lora.rank=4"
WHOLE = "model.lora=null"
WATCHED = ("train.validate_every=3", "train.kl_budget=100", "watch.prompts=1")
RUNS = {
    "all weights": ("kto", (WHOLE, *WATCHED)),
    "adapters": ("kto", (ADAPTERS, "train.repeats_budget=0.5")),
    "in bfloat16": ("kto", (WHOLE, "model.dtype=bfloat16")),
    "reward model": ("bradley-terry", (ADAPTERS, "samples.prompts=0")),
}


def commands(folder: Path) -> None:
    """Each run with one process, and with two that share the weights."""
    os.environ["HALOES_CACHE"] = str(folder / "cache")
    model = save_model(folder / "the model")
    thumbs_file, pairs_file = write_rows(folder / "rows.jsonl", thumbs()), write_rows(folder / "pairs.jsonl", pairs())
    for name, (loss, more) in RUNS.items():
        source = thumbs_file if loss == "kto" else pairs_file
        changed = [argument for setting in more for argument in ("--set", setting)]
        arguments = ["train", str(source), "--loss", loss, *flags(model, train__microbatch_tokens="64"), *changed]
        for label, processes, shard in (("one", 1, "auto"), ("two", 2, "full")):
            out = f"{name} of {label}"
            work = [*arguments, "--set", f"train.shard={shard}", "--out", str(folder / out)]
            command = partial(haloes, work)
            # As where its files are not as the model is, on a machine with no room for it in both processes at a time.
            in_turn = partial(_in_turn, command) if name == "adapters" else command
            codes = together(in_turn, processes, said=folder / f"{out}.txt")
            _all_well(codes, folder / f"{out}.txt")


def _in_turn(command: Callable[[], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "why_whole", lambda *_: "a test")
        patch.setattr(setup, "bytes_of_weights", lambda *_: 10**15)
        command()


def train_part(
    folder: Path,
    run: str,
    *,
    stop_after: int | None = None,
    cut_after: int | None = None,
    shards: bool = True,
    takes_back: bool = False,
) -> None:
    """
    Train a run of eight steps as one of several processes, or the part of it that is left.

    Args:
        folder: of all runs.
        run: the run's name.
        stop_after: the last process is asked to stop after this many steps of this part.
        cut_after: the last process gives the step up that it is in when it has been asked this often.
        shards: whether the processes share the weights.
        takes_back: the policy falls apart with all of the change and with 7/8 of it, and is sound with 6/8; its weights
            are left in `result.safetensors`.
    """
    torch.set_num_threads(1)
    ranks, run_dir, asked = this_rank(torch.device("cpu")), folder / run, count(1)
    is_last = ranks.index == ranks.count - 1
    cut: Cut = never if cut_after is None else (lambda: is_last and next(asked) > cut_after)
    policy = policy_for(LOSSES["kto"])
    if shards and ranks.group is not None:
        policy = shard_policy(policy, ranks.group.mesh())
    cache = ReferenceCache(run_dir / "cache") if ranks.is_main else None
    known = ranks.gather(b"" if cache is None else cache.to_bytes())[0]
    job = make_job(
        run_dir,
        LOSSES["kto"],
        policy=policy,
        train=TokenStore(folder / "train"),
        validation=TokenStore(folder / "held out"),
        settings=TrainSettings(
            lr=1e-3, batch_size=5, epochs=2, microbatch_tokens=40, validate_every=3, checkpoint_every=1000
        ),
        ranks=ranks,
        cache=ReferenceCache(run_dir / "cache", known) if cache is None else cache,
        stop=lambda: stop_after is not None and is_last and next(asked) >= stop_after,
        cut=cut,
        falls_apart=partial(next, iter((True, True, False))) if takes_back else None,
    )
    try:
        result = train(job)
        if takes_back:
            assert result.kept_share == 0.75
            weights = {name: whole(weight).contiguous() for name, weight in policy.trainable().items()}
            if ranks.is_main:
                save_file(weights, run_dir / "result.safetensors")
    except Interrupted as stopped:
        if ranks.is_main:
            (run_dir / "stopped").write_text(str(stopped.step))


def parts(folder: Path) -> None:
    """Runs that are stopped or cut short, and go on with as many processes or others."""
    write_store(folder / "train", rows_for(LOSSES["kto"], 20))
    write_store(folder / "held out", rows_for(LOSSES["kto"], 5, seed=1))
    work = partial(train_part, folder)
    for run, before, processes, after in (
        ("whole", None, 2, {}),
        ("part of it by one", None, 1, {"takes_back": True}),
        ("part of it by two", None, 2, {"takes_back": True}),
        ("stopped", {"stop_after": 5}, 2, {}),
        ("cut", {"cut_after": 30}, 2, {}),
        ("on one", {"stop_after": 5}, 1, {}),
        ("on three", {"stop_after": 5}, 3, {}),
        ("without shards", {"stop_after": 5}, 2, {"shards": False}),
    ):
        said = folder / f"{run}.txt"
        if before is not None:
            _all_well(together(partial(work, run, **before), 2, said=said), said)
        _all_well(together(partial(work, run, **after), processes, said=said), said)


def _all_well(codes: Sequence[int], said: Path) -> None:
    assert not any(codes), f"{codes}: {said.read_text()[-3000:]}"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    parts(place)
    commands(place)
