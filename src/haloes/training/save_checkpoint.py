"""
Writing checkpoints: what the run is at one moment, its files, and last the manifest and the name.

Nothing here waits for anything but the disk and the processes that write a checkpoint together
(`haloes.training.write_behind` lets the next steps run meanwhile).
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from haloes.errors import RunError
from haloes.models.weight_shards import local
from haloes.store import give_usual_permissions
from haloes.training.checkpoint import (
    LOSS_STATE,
    MANIFEST,
    METRICS,
    OPTIMIZER,
    PARTIAL,
    STATE,
    WEIGHTS,
    folder_name,
    folders,
    hash_of,
)
from haloes.training.distributed import Ranks
from haloes.training.optimizer import Masters
from haloes.training.shard_files import HeldTensors, held

_ALONE = Ranks(0, 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint keeps of a run, as far as this process holds it."""

    step: int
    """Steps that are done."""
    tensors: Mapping[str, HeldTensors]
    """Weights, moments and the loss's state, by the kind of their file."""
    identity: Mapping[str, str]
    metrics: bytes
    ranks: Ranks
    """The processes that write it together: those that hold shards, else one alone."""

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that a copy takes."""
        return sum(held.nbytes for held in self.tensors.values())

    @property
    def is_on_cpu(self) -> bool:
        """Return whether all of it is in host memory as it is."""
        return all(tensor.device.type == "cpu" for held in self.tensors.values() for tensor in held.tensors.values())

    def copied(self) -> "Snapshot":
        """Return the same in memory of its own on the host, which later steps do not change."""
        return replace(self, tensors={kind: held.copied() for kind, held in self.tensors.items()})


def snapshot(
    *,
    step: int,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    loss_state: Mapping[str, Tensor],
    identity: Mapping[str, str],
    metrics: bytes = b"",
    ranks: Ranks = _ALONE,
) -> Snapshot:
    """Return what a checkpoint keeps of a run; its tensors are the run's own, which the next step changes."""
    kinds = {WEIGHTS: masters.weights, OPTIMIZER: _moments(masters, optimizer), LOSS_STATE: loss_state}
    # Everything random of a step follows from its number, so that there is no random state to keep.
    return Snapshot(step, {kind: held(own, ranks) for kind, own in kinds.items()}, identity, metrics, ranks)


@dataclass(frozen=True, slots=True)
class Saving:
    """
    A checkpoint on its way to the disk: `begin`, `write_own`, `complete`, the middle one in any thread.

    The processes that write it together come to the first and to the last together.
    """

    folder: Path
    snapshot: Snapshot
    keep: int | None
    """How many of the newest up to this step stay, None for all. Later ones can only be damaged, or the run would have
    resumed from them: they do not count."""

    @property
    def path(self) -> Path:
        """Return where it will be."""
        return self.folder / folder_name(self.snapshot.step)

    @property
    def _partial(self) -> Path:
        return self.folder / f"{PARTIAL}{self.snapshot.step:08d}"

    def begin(self) -> None:
        """Make room for the files. Raises RunError where the disk does not let it."""
        if self.snapshot.ranks.is_main:
            try:
                self.give_up()
                self._partial.mkdir(parents=True)
            except OSError as error:
                raise self._fault(error.strerror or str(error)) from error
        self.snapshot.ranks.barrier()

    def write_own(self) -> bytes:
        """Write this process's files, and return their hashes, or what kept them from being written: for `complete`."""
        partial, ranks = self._partial, self.snapshot.ranks
        try:
            files = [held.write(partial, kind, ranks) for kind, held in self.snapshot.tensors.items()]
            if ranks.is_main:
                (partial / METRICS).write_bytes(self.snapshot.metrics)
                _write_json(partial / STATE, {"step": self.snapshot.step, "identity": dict(self.snapshot.identity)})
                files += [partial / METRICS, partial / STATE]
            # The contents reach the disk before the name does, or a power cut could leave a whole name with empty
            # files.
            _sync(files)
            return json.dumps({"hashes": {path.name: hash_of(path) for path in files}}).encode()
        except (OSError, SafetensorError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            return json.dumps({"fault": why or str(error)}).encode()

    def complete(self, own: bytes) -> None:
        """
        Give the checkpoint its manifest and its name, and remove older ones: in the main process, for all.

        Raises RunError on all of them where one could not write; earlier checkpoints stay.
        """
        ranks = self.snapshot.ranks
        said = [json.loads(each) for each in ranks.gather(own)]
        fault = next((each["fault"] for each in said if "fault" in each), None)
        if ranks.is_main and fault is None:
            fault = self._name_it({name: value for each in said for name, value in each["hashes"].items()})
        # As long as it takes: until the new one is whole, the old ones are what a crash would leave.
        fault = ranks.broadcast(fault)
        if fault is not None:
            self.give_up()
            raise self._fault(fault)
        if ranks.is_main and self.keep is not None:
            for old in [path for path in folders(self.folder) if path.name <= self.path.name][self.keep :]:
                shutil.rmtree(old)

    def give_up(self) -> None:
        """Remove what was written of it, from the main process."""
        if self.snapshot.ranks.is_main:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _name_it(self, hashes: Mapping[str, str]) -> str | None:
        """Write the manifest, and rename the folder; return what was in the way, if something was."""
        manifest = self._partial / MANIFEST
        try:
            # Last: a folder without a manifest is a write that was cut off.
            _write_json(manifest, dict(sorted(hashes.items())))
            give_usual_permissions(self._partial)
            _sync([manifest])
            shutil.rmtree(self.path, ignore_errors=True)
            self._partial.rename(self.path)
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _fault(self, why: str) -> RunError:
        return RunError(
            f"the checkpoint of step {self.snapshot.step} cannot be written to {self.folder}: {why}; "
            "free some space (or set train.keep_checkpoints lower) and resume: earlier checkpoints are unharmed"
        )


def save(folder: Path, taken: Snapshot, *, keep: int | None) -> Path:
    """
    Write a checkpoint into `folder` and wait for it, then remove all but the newest `keep` up to its step.

    Raises RunError when the disk is full or cannot be written; earlier checkpoints stay.
    """
    saving = Saving(folder, taken, keep)
    saving.begin()
    saving.complete(saving.write_own())
    return saving.path


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


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1))


def _sync(files: Iterable[Path]) -> None:
    """Wait until the files are on the disk."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
