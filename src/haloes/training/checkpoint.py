"""
Checkpoints that are whole or not there: written beside, hashed file by file, the manifest last, then renamed.

safetensors and JSON only. A folder whose manifest is missing or does not fit its files is named and passed over. Where
the weights are shards each process writes and hashes a file of its own, and any number of processes reads them
(`haloes.training.shard_files`). `haloes.training.save_checkpoint` writes them.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from haloes.errors import RunError
from haloes.training.optimizer import Masters
from haloes.training.shard_files import opened

MANIFEST, PARTIAL = "manifest.json", ".partial-"
WEIGHTS, OPTIMIZER, LOSS_STATE = "weights", "optimizer", "memory"
STATE, METRICS = "state.json", "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk that was found intact."""

    path: Path
    step: int
    """Steps that were done when it was written."""
    identity: Mapping[str, str]
    """Hashes of the run's data, tokenizer, reference and configuration, by name."""

    @property
    def metrics(self) -> bytes | None:
        """Return the run's metrics as they were when it was written; None in one of an older haloes."""
        path = self.path / METRICS
        return path.read_bytes() if path.exists() else None


def is_there(folder: Path, step: int) -> bool:
    """Return whether a checkpoint of this step was written, intact or damaged since."""
    return (folder / folder_name(step)).exists()


def keep_steps(folder: Path, steps: Collection[int]) -> None:
    """Remove all checkpoints in `folder` but those of these steps."""
    kept = {folder_name(step) for step in steps}
    for path in folders(folder):
        if path.name not in kept:
            shutil.rmtree(path)


def of_step(folder: Path, step: int) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint of this step, if it is there and intact, and a sentence about one that is damaged."""
    path = folder / folder_name(step)
    if not path.exists():
        return None, []
    fault = _fault(path)
    found = None if fault is not None else _opened(path)
    if found is not None and found.step != step:
        fault = f"it is that of step {found.step}"
    if fault is None:
        return found, []
    return None, [f"checkpoint {path} is damaged and is passed over: {fault}"]


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while it wrote a checkpoint left of it."""
    for partial in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest intact checkpoint, and a sentence about each damaged one that was passed over."""
    damaged: list[str] = []
    for path in folders(folder):
        fault = _fault(path)
        if fault is None:
            return _opened(path), damaged
        damaged.append(f"checkpoint {path} is damaged and is passed over: {fault}")
    return None, damaged


def restore(
    checkpoint: Checkpoint,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    loss_state: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """
    Put weights and optimizer moments back, bit for bit, whoever wrote them; return the loss's state.

    Args:
        checkpoint: an intact one.
        masters: the weights.
        optimizer: theirs.
        loss_state: what the loss keeps now: where that is in shards, what is returned is too.

    Raises RunError when the checkpoint holds other weights than this run trains.
    """
    with opened(checkpoint.path, WEIGHTS) as saved:
        if {name: saved.shape(name) for name in saved.parts} != {n: tuple(w.shape) for n, w in masters.weights.items()}:
            raise RunError(
                f"{checkpoint.path} holds other weights than this run trains; was the model or its LoRA changed?"
            )
        with torch.no_grad():
            for name, weight in masters.weights.items():
                saved.read_into(name, weight)
    # What is saved is float32; the model's own weights are rounded from it, as after every step.
    masters.publish()
    # Straight into the optimizer's state, so that nothing is cast on the way.
    with opened(checkpoint.path, OPTIMIZER) as saved:
        for index, (name, weight) in enumerate(masters.weights.items()):
            # By number and not by name: the optimizer knows its weights in this order.
            prefix = f"{index}/"
            state = {key.removeprefix(prefix): saved.like(key, weight) for key in saved.parts if key.startswith(prefix)}
            if state:
                optimizer.state[weight] = {key: _as_kept(value, weight.device) for key, value in state.items()}
            elif saved.parts:
                raise RunError(f"{checkpoint.path} has no optimizer state for {name}")
    with opened(checkpoint.path, LOSS_STATE) as saved:
        return {name: saved.like(name, (loss_state or {}).get(name)) for name in saved.parts}


def _as_kept(value: Tensor, device: torch.device) -> Tensor | int:
    """Return a saved value as the optimizer had it: a single int64 was a whole number, for none keeps such tensors."""
    return int(value) if value.ndim == 0 and value.dtype == torch.int64 else value.to(device)


def _opened(path: Path) -> Checkpoint:
    """Return an intact checkpoint."""
    state = json.loads((path / STATE).read_text())
    return Checkpoint(path, state["step"], state["identity"])


def folder_name(step: int) -> str:
    """Return the name of a step's checkpoint."""
    return f"step-{step:08d}"


def _fault(path: Path) -> str | None:
    """Return what is wrong with a checkpoint; None where every file is there with the hash of its manifest."""
    try:
        manifest: dict[str, Any] = dict(json.loads((path / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        return f"its manifest cannot be read ({error})"
    kinds = {name: re.sub(r"-\d+-of-\d+$", "", Path(name).stem) for name in manifest}
    absent = [f"{kind}.safetensors" for kind in (WEIGHTS, OPTIMIZER, LOSS_STATE) if kind not in kinds.values()]
    for name in dict.fromkeys((*absent, STATE, *manifest)):
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if hash_of(file) != manifest.get(name):
            return f"{name} is not what was written"
    return None


def folders(folder: Path) -> list[Path]:
    """Return all checkpoints, whole or not, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def hash_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, as its manifest has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
