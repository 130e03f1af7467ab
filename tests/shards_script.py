"""
Steps of one process with all weights, and of two and four with a part of each: a script, so that it can fork.

    python tests/shards_script.py FOLDER

It leaves in the folder what everything came to in process R of N, as `N-R.npz`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
from haloes.losses._contract import Loss
from haloes.models.adapters import LoRA
from haloes.models.policy import Policy, make_policy
from haloes.models.quiet import quiet
from haloes.models.reference_cache import ReferenceCache
from haloes.models.references import FileReference, SyncedReference
from haloes.models.sharded import shard_policy
from haloes.models.weight_shards import is_shard, local, whole
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks, this_rank
from haloes.training.equal_passes import fillers_for
from haloes.training.optimizer import make_masters, make_optimizer
from haloes.training.process_group import ProcessGroup
from haloes.training.settings import TrainSettings
from haloes.training.step import Stepper
from haloes.training.update import update
from haloes.training.validation import make_schedule
from training_jobs import EVERY, LOSSES, Row, disturb, make_stepper, rows_for, thumbs, write_store

COUNTS = (1, 2, 4)
COPIES = ["all weights, tied", "all weights, untied", "adapters, tied", "a process without rows", "pairs"]
"""Cases of four processes of which each two hold a copy together."""
BFLOAT16 = "in bfloat16"


@dataclass(frozen=True)
class Case:
    """Three steps with a loss."""

    loss: str = "kto"
    rows: list[Row] = field(default_factory=lambda: rows_for(LOSSES["kto"], 9))
    budget: int = 50
    lora: LoRA | None = None
    tied: bool = True
    checkpointing: bool = False
    dtype: torch.dtype = torch.float32
    lr: float = 1e-2


CASES = {
    "all weights, tied": Case(),
    "all weights, untied": Case(tied=False),
    "adapters, tied": Case(lora=LoRA(rank=4)),
    "adapters, untied": Case(lora=LoRA(rank=4), tied=False),
    "all weights, activations computed again": Case(checkpointing=True),
    "adapters, activations computed again": Case(lora=LoRA(rank=4), checkpointing=True),
    "adapters of the upper layer alone": Case(lora=LoRA(rank=4, layers=[1])),
    # With a budget of one token every row is a micro-batch, and goes to the processes in turn.
    "a process without rows": Case(rows=thumbs(3), budget=1),
    # AdamW divides a gradient that is nearly zero by itself, rounding and all.
    "pairs": Case("dpo", rows_for(LOSSES["dpo"], 5), lr=1e-3),
    "no reference": Case("sft", rows_for(LOSSES["sft"], 5)),
    f"all weights {BFLOAT16}": Case(dtype=torch.bfloat16),
    f"adapters {BFLOAT16}": Case(lora=LoRA(rank=4), dtype=torch.bfloat16),
}
HELD = ["all weights, untied", "adapters, untied", f"all weights {BFLOAT16}", f"adapters {BFLOAT16}"]
"""Cases of which it is counted what a process holds."""


def make_stores(folder: Path) -> None:
    """The rows of everything."""
    for name, case in CASES.items():
        write_store(folder / name, case.rows, paired=LOSSES[case.loss].needs.pairs)
    for name, loss in EVERY.items():
        write_store(folder / "loss" / name, rows_for(loss, 5), paired=loss.needs.pairs)


def policy_of(loss: Loss[Any], case: Case, ranks: Ranks) -> Policy:
    """A policy with its reference, which it has moved away from, in shards where there are several processes."""
    needs = loss.needs
    policy = make_policy(
        tiny_model("llama", tied=case.tied, dtype=case.dtype),
        lora=case.lora,
        reference=needs.any_reference,
        seed=0,
        synced=needs.sync_every is not None,
        values=needs.values,
        rewards=needs.rewards,
    )
    disturb(policy, seed=12)
    if case.checkpointing:
        with quiet():  # its name changes with transformers 6
            policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return policy if ranks.group is None else shard_policy(policy, mesh_of(ranks.group))


def stepper_of(
    policy: Policy,
    loss: Loss[Any],
    store: TokenStore,
    ranks: Ranks,
    *,
    budget: int,
    cache: ReferenceCache | None = None,
) -> Stepper:
    """A stepper whose passes are equally many on all processes."""
    stepper = make_stepper(policy, loss, store, budget=budget, ranks=ranks, cache=cache)
    fillers = fillers_for(policy, ranks)
    reference: Any = stepper.reference
    if reference is not None:
        reference = replace(reference, fillers=fillers, ranks=ranks)
    return replace(stepper, fillers=fillers, reference=reference)


def three_steps(name: str, case: Case, folder: Path, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """What three clipped steps come to, as the trainer makes them."""
    loss, store = LOSSES[case.loss], TokenStore(folder / name)
    policy = policy_of(loss, case, ranks)
    stepper = stepper_of(policy, loss, store, ranks, budget=case.budget)
    settings = TrainSettings(lr=case.lr, max_grad_norm=1.0, batch_size=1 if "without rows" in name else 32)
    masters = make_masters(policy.trainable())
    optimizer = make_optimizer(masters, settings)
    schedule = make_schedule(stepper, batch_size=int(settings.batch_size), epochs=3, seed=0)
    policy.model.train()
    for step in range(3):
        table = stepper.run(schedule.step(step), backward=True)
        ranks.sum_each(masters.own_gradients())
        if step == 0:
            for weight, master in masters.weights.items():
                assert master.grad is not None
                yield f"gradient {weight}", whole(master.grad).clone()
        yield f"loss {step}", table.loss
        yield f"logp {step}", table.logp
        norm = update(masters, optimizer, case.lr, 1.0, step=step + 1)
        yield f"norm {step}", norm
    for weight, master in masters.weights.items():
        yield f"weight {weight}", whole(master)
    validation = stepper.run(make_schedule(stepper, batch_size=4, epochs=1, seed=0).step(0), backward=False)
    yield "validation", validation.loss
    masters.release()


def every_loss(folder: Path, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """What one step of each loss of the table comes to."""
    for name, loss in EVERY.items():
        # Four processes differ from two where something is kept of the steps before, which each holds a part of.
        if ranks.count > 2 and loss.needs.sync_every is None:
            continue
        policy = policy_of(loss, Case(), ranks)
        store = TokenStore(folder / "loss" / name)
        stepper = stepper_of(policy, loss, store, ranks, budget=30)
        masters = make_masters(policy.trainable())
        table = stepper.run(
            make_schedule(stepper, batch_size=32, epochs=1, seed=0).step(0), backward=True, running_reward=0.1
        )
        ranks.sum_each(masters.own_gradients())
        yield f"{name}: loss", table.loss
        norms = [whole(gradient).norm() for gradient in masters.gradients()]
        yield f"{name}: norm", torch.stack(norms).norm()
        masters.release()


def the_rest(folder: Path, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """What is looked at one by one."""
    kto = LOSSES["kto"]
    store = TokenStore(folder / "all weights, tied")
    for way, lora in (("all weights", None), ("adapters", LoRA(rank=4))):
        policy = policy_of(kto, Case(lora=lora), ranks)
        # The reference first: what a first pass sees decides the dtype of all gradients to come.
        yield f"{way}: reference before", scores_of(policy, store, reference=True)
        with torch.no_grad():
            for weight in policy.trainable().values():
                local(weight).add_(0.1)
        yield f"{way}: reference after", scores_of(policy, store, reference=True)
        yield f"{way}: policy after", scores_of(policy, store, reference=False)
    # One process finds everything in its cache, the others nothing: a run never makes them so.
    policy = policy_of(kto, Case(), ranks)
    cache = ReferenceCache(folder / f"cache {ranks.count} {ranks.index}")
    alone = stepper_of(policy, kto, store, ranks, budget=30, cache=cache)
    step = make_schedule(alone, batch_size=32, epochs=1, seed=0).step(0)
    first = alone.run(step, backward=False)
    if ranks.index:
        cache = ReferenceCache(folder / f"empty cache {ranks.count} {ranks.index}")
    again = stepper_of(policy, kto, store, ranks, budget=30, cache=cache).run(step, backward=False)
    yield "cache: loss", first.loss
    yield "cache: loss again", again.loss


def scores_of(policy: Policy, store: TokenStore, *, reference: bool) -> torch.Tensor:
    """Log-probabilities of the first rows."""
    packed = packed_rows([store.read(i) for i in range(4)], policy.device)
    with torch.no_grad():
        return policy.reference_logps(packed) if reference else policy.token_logps(packed)


def synced(ranks: Ranks, folder: Path) -> Iterator[tuple[str, Any]]:
    """What a reference that is synced with the policy says, before and after."""
    policy = make_policy(tiny_model("llama"), lora=None, reference=True, seed=0, synced=True)
    store = TokenStore(folder / "all weights, tied")
    if ranks.group is not None:
        policy = shard_policy(policy, mesh_of(ranks.group))
    assert isinstance(policy.reference, SyncedReference)
    yield "synced: start", scores_of(policy, store, reference=True)
    with torch.no_grad():
        for weight in policy.trainable().values():
            local(weight).add_(0.1)
    yield "synced: old", scores_of(policy, store, reference=True)
    yield "synced: policy", scores_of(policy, store, reference=False)
    policy.reference.sync()
    yield "synced: new", scores_of(policy, store, reference=True)


def dtypes(ranks: Ranks, folder: Path) -> Iterator[tuple[str, Any]]:
    """Whether gradients are float32 where the model computes in bfloat16 and its reference was looked at first."""
    policy = policy_of(LOSSES["kto"], Case(lora=LoRA(rank=4), dtype=torch.bfloat16), ranks)
    store = TokenStore(folder / "all weights, tied")
    scores_of(policy, store, reference=True)
    policy.token_logps(packed_rows([store.read(0)], policy.device)).sum().backward()
    if ranks.group is not None:
        weights = list(policy.trainable().values())
        yield "gradients in float32", all(w.grad is not None and w.grad.dtype == torch.float32 for w in weights)
        yield "shards of all", all(is_shard(w) for w in policy.model.parameters())


def held(folder: Path, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """The bytes that this process holds of each part of the model after a step."""
    for name in HELD:
        case, loss, store = CASES[name], LOSSES["kto"], TokenStore(folder / name)
        policy = policy_of(loss, case, ranks)
        stepper = stepper_of(policy, loss, store, ranks, budget=case.budget)
        masters = make_masters(policy.trainable())
        optimizer = make_optimizer(masters, TrainSettings(lr=1e-3))
        stepper.run(make_schedule(stepper, batch_size=32, epochs=1, seed=0).step(0), backward=True)
        gradients = masters.gradients()
        optimizer.step()
        trained = list(masters.weights.values())
        # One of float32 is its own copy, as is any shard.
        weights = [p for p in policy.model.parameters() if all(p is not weight for weight in trained)]
        moments = [m for state in optimizer.state.values() for m in state.values() if m.ndim or m.numel() > 1]
        parts = {
            "weights and trained copy": [*weights, *trained],
            "gradients": gradients,
            "optimizer": moments,
            "reference": reference_weights(policy),
        }
        for part, tensors in parts.items():
            yield f"held, {name}: {part}", sum(local(tensor).nbytes for tensor in tensors)
        masters.release()


def reference_weights(policy: Policy) -> list[torch.Tensor]:
    """The weights of a reference that is another model, in a file or not; none where it is the policy itself."""
    if isinstance(policy.reference, FileReference):
        return list(policy.reference.weights().values())
    assert policy.reference is not None
    with policy.reference() as scorer:
        return [] if scorer.model is policy.scorer.model else list(scorer.model.parameters())


def everything(folder: Path) -> None:
    """Do it all as one of several processes."""
    torch.set_num_threads(1)
    ranks = this_rank(torch.device("cpu"))
    found: dict[str, Any] = {}
    for name, case in CASES.items():
        found |= {f"{name}: {key}": value for key, value in three_steps(name, case, folder, ranks)}
    found |= dict(the_rest(folder, ranks)) | dict(synced(ranks, folder)) | dict(dtypes(ranks, folder))
    found |= dict(every_loss(folder, ranks)) | dict(held(folder, ranks))
    save(found, folder / f"{ranks.count}-{ranks.index}.npz")


def in_copies(folder: Path) -> None:
    """Do a part of it as one of four processes of which each two hold a copy of the weights together."""
    torch.set_num_threads(1)
    ranks = this_rank(torch.device("cpu"))
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessGroup, "mesh", partialmethod(ProcessGroup.mesh, over=2))
        for name in COPIES:
            found |= {f"{name}: {key}": value for key, value in three_steps(name, CASES[name], folder, ranks)}
        found |= dict(synced(ranks, folder)) | dict(dtypes(ranks, folder))
        weight = next(iter(policy_of(LOSSES["kto"], Case(), ranks).trainable().values()))
        found |= {"rows": len(weight), "own rows": len(local(weight))}
    save(found, folder / f"2x2-{ranks.index}.npz")


def save(found: dict[str, Any], path: Path) -> None:
    """Write everything that was found."""
    arrays = {
        key: value.detach().double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for key, value in found.items()
    }
    np.savez(path, **arrays)


def main(folder: Path) -> None:
    """Do it all with one, two and four processes."""
    make_stores(folder)
    for work, count in [*((everything, count) for count in COUNTS), (in_copies, 4)]:
        codes = together(partial(work, folder), count)
        assert not any(codes), codes


if __name__ == "__main__":
    main(Path(sys.argv[1]))
