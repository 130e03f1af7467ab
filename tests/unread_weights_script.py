"""
Policies in shards that two processes each cut out of a whole model, and that read their own rows: a script, to fork.

    python tests/unread_weights_script.py FOLDER
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peft  # noqa: F401 - once, and not in every process
import pytest
import torch
import torch.distributed.fsdp
import torch.distributed.tensor
import transformers
from torch import Tensor

from fakes import byte_tokenizer, tiny_model
from forked_ranks import mesh_of, together
from haloes.batches.collate import packed_rows
from haloes.models.adapters import LoRA
from haloes.models.load import load_model
from haloes.models.policy import Policy
from haloes.models.sharded import models_of, shard_policy
from haloes.models.unread_weights import UnreadWeights
from haloes.models.weight_shards import local, rows_of
from haloes.runs.config import ModelSettings
from haloes.runs.load_policy import load_policy
from haloes.runs.sharding import shared_fingerprint
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks, this_rank
from training_jobs import LOSSES, rows_for, write_store

KTO = LOSSES["kto"].needs
MODELS: dict[str, dict[str, Any]] = {"tied": {}, "untied": {"tied": False}, "in bfloat16": {"dtype": torch.bfloat16}}
CASES: dict[str, tuple[str, LoRA | None, torch.dtype, dict[str, Any]]] = {
    "all weights, tied": ("tied", None, torch.float32, {}),
    "all weights, untied": ("untied", None, torch.float32, {}),
    "all weights in bfloat16": ("tied", None, torch.bfloat16, {}),
    "a file in bfloat16": ("in bfloat16", None, torch.float32, {}),
    "adapters": ("tied", LoRA(rank=4), torch.float32, {}),
    "adapters in bfloat16": ("untied", LoRA(rank=4), torch.bfloat16, {}),
    "another reference": ("tied", LoRA(rank=4), torch.float32, {"reference": "untied"}),
    "a synced reference": ("tied", None, torch.float32, {"sync_every": 2}),
}
"""Model, adapters, what it computes in, and what else there is."""


def policy_of(folder: Path, case: str, ranks: Ranks, *, in_files: bool) -> Policy:
    """A policy in shards."""
    model, lora, dtype, more = CASES[case]
    reference = str(folder / more["reference"]) if "reference" in more else None
    policy = load_policy(
        ModelSettings(name=str(folder / model), lora=lora, reference=reference),
        replace(KTO, sync_every=more.get("sync_every")),
        longest=20,
        max_length=20,
        seed=3,
        device=torch.device("cpu"),
        dtype=dtype,
        in_files=in_files,
        hashed=partial(shared_fingerprint, ranks=ranks, like=None),
    )
    assert ranks.group is not None
    return shard_policy(policy, mesh_of(ranks.group))


@contextmanager
def watched() -> Iterator[list[int]]:
    """Forbid loading a whole model, and give the numbers that each reading of rows has brought."""
    read: list[int] = []
    rows = UnreadWeights.rows

    def counted(files: UnreadWeights, name: str, part: slice) -> Tensor:
        found = rows(files, name, part)
        read.append(found.numel())
        return found

    def refused(*_: object, **__: object) -> Any:
        raise AssertionError("a whole model was loaded")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refused)
        patch.setattr(UnreadWeights, "rows", counted)
        yield read


def compare(folder: Path, case: str, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """What differs between the two ways, and what the second has read."""
    whole = policy_of(folder, case, ranks, in_files=False)
    with watched() as read:
        sliced = policy_of(folder, case, ranks, in_files=True)
    ours, theirs = dict(sliced.model.named_parameters()), dict(whole.model.named_parameters())
    yield "the same names", list(ours) == list(theirs)
    yield "the same dtypes", all(ours[name].dtype == weight.dtype for name, weight in theirs.items())
    yield "the same rows", all(rows_of(ours[name]) == rows_of(weight) for name, weight in theirs.items())
    yield "the same bits", all(torch.equal(local(ours[name]), local(weight)) for name, weight in theirs.items())
    buffers = zip(sliced.model.buffers(), whole.model.buffers(), strict=True)
    yield "the same buffers", all(torch.equal(a, b) for a, b in buffers)
    hashes = [[p.reference_fingerprint, p.start_fingerprint, p.base_fingerprint] for p in (sliced, whole)]
    yield "the same fingerprints", hashes[0] == hashes[1]
    store = TokenStore(folder / "rows")
    packed = packed_rows([store.read(i) for i in range(4)], whole.device)
    with torch.no_grad():
        yield "the same reference", torch.equal(sliced.reference_logps(packed), whole.reference_logps(packed))
        yield "the same policy", torch.equal(sliced.token_logps(packed), whole.token_logps(packed))
    yield "numbers read", sum(read)
    named = [item for model, _ in models_of(sliced) for item in model.named_parameters()]
    yield "numbers in files", sum(weight.numel() for name, weight in named if "lora_" not in name)


def two_machines(folder: Path, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """Fingerprints where each process is on a machine of its own, with copies of a model that are the same or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROUP_RANK", str(ranks.index))
        patch.setenv("LOCAL_RANK", "0")
        patch.setenv("LOCAL_WORLD_SIZE", "1")
        for name, models in (("the same", ("tied", "tied")), ("another", ("tied", "nudged"))):
            path = str(folder / models[ranks.index])
            model = load_model(path, dtype=torch.float32, device="cpu", in_files=True).model
            yield name, shared_fingerprint(model, ranks, like=None)


def everything(folder: Path) -> None:
    """Do it all as one of two processes."""
    torch.set_num_threads(1)
    os.environ["HALOES_CACHE"] = str(folder / "cache")
    ranks = this_rank(torch.device("cpu"))
    for case in CASES:
        np.savez(folder / f"{case} {ranks.index}.npz", **dict(compare(folder, case, ranks)))
    np.savez(folder / f"machines {ranks.index}.npz", **dict(two_machines(folder, ranks)))


def main(folder: Path) -> None:
    """Do it all with two processes."""
    write_store(folder / "rows", rows_for(LOSSES["kto"], 6))
    for name, how in MODELS.items():
        # In several files, as large models are.
        tiny_model("llama", **how).save_pretrained(folder / name, max_shard_size="20KB")
        byte_tokenizer().save_pretrained(folder / name)
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    model.save_pretrained(folder / "nudged")
    byte_tokenizer().save_pretrained(folder / "nudged")
    codes = together(partial(everything, folder), 2)
    assert not any(codes), codes


if __name__ == "__main__":
    main(Path(sys.argv[1]))
