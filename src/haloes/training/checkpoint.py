"""
Checkpoints that are whole or not there: written beside, hashed file by file, the manifest last, then renamed.

safetensors and JSON only. A folder whose manifest is missing or does not fit its files is named and passed over. Where
the weights are shards each process writes and hashes a file of its own, and any number of processes reads them
(`haloes.training.shard_files`).
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from haloes.errors import RunError
from haloes.models.weight_shards import local
from haloes.store import give_usual_permissions
from haloes.training.distributed import Ranks
from haloes.training.optimizer import Masters
from haloes.training.shard_files import opened, write_own

_MANIFEST, _PARTIAL = "manifest.json", ".partial-"
_WEIGHTS, _OPTIMIZER, _LOSS_STATE = "weights", "optimizer", "memory"
_STATE, _METRICS = "state.json", "metrics.jsonl"
_ALONE = Ranks(0, 1)


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
        path = self.path / _METRICS
        return path.read_bytes() if path.exists() else None


def save(
    folder: Path,
    *,
    step: int,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    loss_state: Mapping[str, Tensor],
    identity: Mapping[str, str],
    metrics: bytes = b"",
    keep: int | None,
    ranks: Ranks = _ALONE,
) -> Path:
    """
    Write the checkpoint of `step` into `folder`, then remove all but the newest `keep` up to this step.

    Processes that hold shards come here together, and each writes its own; else one process alone does. Later
    checkpoints can only be damaged, or the run would have resumed from them: they do not count among the kept ones.
    None removes nothing.

    Raises RunError when the disk is full or cannot be written; earlier checkpoints stay.
    """
    final = folder / _name(step)
    partial = folder / f"{_PARTIAL}{step:08d}"
    try:
        if ranks.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        ranks.barrier()
        kinds = {_WEIGHTS: masters.weights, _OPTIMIZER: _moments(masters, optimizer), _LOSS_STATE: loss_state}
        files = [write_own(partial, kind, tensors, ranks) for kind, tensors in kinds.items()]
        if ranks.is_main:
            (partial / _METRICS).write_bytes(metrics)
            _write_json(partial / _STATE, {"step": step, "identity": dict(identity)})
            files += [partial / _METRICS, partial / _STATE]
        # The contents reach the disk before the name does, or a power cut could leave a whole name with empty files.
        _sync(files)
        hashes = ranks.gather(json.dumps({path.name: _hash(path) for path in files}).encode())
        if ranks.is_main:
            # Last: a folder without a manifest is a write that was cut off.
            manifest = {name: value for own in hashes for name, value in json.loads(own).items()}
            _write_json(partial / _MANIFEST, dict(sorted(manifest.items())))
            give_usual_permissions(partial)
            _sync([partial / _MANIFEST])
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        why = error.strerror if isinstance(error, OSError) else None
        raise RunError(
            f"the checkpoint of step {step} cannot be written to {folder}: {why or error}; "
            "free some space (or set train.keep_checkpoints lower) and resume: earlier checkpoints are unharmed"
        ) from error
    # Only now: until the new one is whole, the old ones are what a crash would leave.
    if keep is not None and ranks.is_main:
        for old in [path for path in _folders(folder) if path.name <= final.name][keep:]:
            shutil.rmtree(old)
    return final


def is_there(folder: Path, step: int) -> bool:
    """Return whether a checkpoint of this step was written, intact or damaged since."""
    return (folder / _name(step)).exists()


def keep_steps(folder: Path, steps: Collection[int]) -> None:
    """Remove all checkpoints in `folder` but those of these steps."""
    kept = {_name(step) for step in steps}
    for path in _folders(folder):
        if path.name not in kept:
            shutil.rmtree(path)


def of_step(folder: Path, step: int) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint of this step, if it is there and intact, and a sentence about one that is damaged."""
    path = folder / _name(step)
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
    for partial in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest intact checkpoint, and a sentence about each damaged one that was passed over."""
    damaged: list[str] = []
    for path in _folders(folder):
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
    with opened(checkpoint.path, _WEIGHTS) as saved:
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
    with opened(checkpoint.path, _OPTIMIZER) as saved:
        for index, (name, weight) in enumerate(masters.weights.items()):
            # By number and not by name: the optimizer knows its weights in this order.
            prefix = f"{index}/"
            state = {key.removeprefix(prefix): saved.like(key, weight) for key in saved.parts if key.startswith(prefix)}
            if state:
                optimizer.state[weight] = {key: _as_kept(value, weight.device) for key, value in state.items()}
            elif saved.parts:
                raise RunError(f"{checkpoint.path} has no optimizer state for {name}")
    with opened(checkpoint.path, _LOSS_STATE) as saved:
        return {name: saved.like(name, (loss_state or {}).get(name)) for name in saved.parts}


def _moments(masters: Masters, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """
    Return the optimizer's state of each weight, by the weight's number and the state's name.

    Whole numbers (bitsandbytes' step counts) become tensors; what several weights share (its tables of 8-bit values) is
    copied, because a safetensors file holds nothing twice.
    """
    found: dict[str, Tensor] = {}
    addresses: set[int] = set()
    for index, weight in enumerate(masters.weights.values()):
        for key, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, int):
                found[f"{index}/{key}"] = torch.tensor(value)
            elif isinstance(value, Tensor):
                address = local(value).data_ptr()
                found[f"{index}/{key}"] = value.detach().clone() if address in addresses else value.detach()
                addresses.add(address)
    return found


def _as_kept(value: Tensor, device: torch.device) -> Tensor | int:
    """Return a saved value as the optimizer had it: a single int64 was a whole number, for none keeps such tensors."""
    return int(value) if value.ndim == 0 and value.dtype == torch.int64 else value.to(device)


def _opened(path: Path) -> Checkpoint:
    """Return an intact checkpoint."""
    state = json.loads((path / _STATE).read_text())
    return Checkpoint(path, state["step"], state["identity"])


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _fault(path: Path) -> str | None:
    """Return what is wrong with a checkpoint; None where every file is there with the hash of its manifest."""
    try:
        manifest: dict[str, Any] = dict(json.loads((path / _MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        return f"its manifest cannot be read ({error})"
    kinds = {name: re.sub(r"-\d+-of-\d+$", "", Path(name).stem) for name in manifest}
    absent = [f"{kind}.safetensors" for kind in (_WEIGHTS, _OPTIMIZER, _LOSS_STATE) if kind not in kinds.values()]
    for name in dict.fromkeys((*absent, _STATE, *manifest)):
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if _hash(file) != manifest.get(name):
            return f"{name} is not what was written"
    return None


def _folders(folder: Path) -> list[Path]:
    """Return all checkpoints, whole or not, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1))


def _sync(files: Iterable[Path]) -> None:
    """Wait until the files are on the disk."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
