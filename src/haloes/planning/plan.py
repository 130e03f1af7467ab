"""What a run will take, told before it starts: its data are read, a few of its steps are tried, nothing is kept."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from haloes.losses._weights import with_weights
from haloes.models.adapters import LoRA
from haloes.models.device import choose_device, choose_dtype
from haloes.models.lm_head import CHUNK_BYTES
from haloes.planning.advice import Options, SettingChange, advise
from haloes.planning.cost_model import (
    FLOAT32,
    StepLoad,
    forward_operations,
    memory,
    seconds,
    training_operations,
)
from haloes.planning.machine import Machine, look, thread_warnings
from haloes.planning.model_size import itemsize, sizes_by_name
from haloes.planning.trial import Subject, TrialResult, try_out
from haloes.planning.workload import disk_bytes, free_disk, moments
from haloes.report.numbers import size
from haloes.runs.callbacks import NullProgress, Progress
from haloes.runs.config import RunConfig
from haloes.runs.inputs import make_inputs
from haloes.runs.process import computing_with
from haloes.runs.setup import check_extras, configured_loss, label_weights
from haloes.training.distributed import Ranks
from haloes.training.microbatch_size import free_memory, held

_BUSY = 0.7
"""Share of its threads' time that a process has on a quiet machine, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """A typical micro-batch, and the least that it could take; without the reference."""

    tokens: int
    seconds: float
    reference_seconds: float
    """More, where the reference's cache does not know it yet."""
    operations: float
    """Floating-point operations that it needs."""
    floor: float
    """Seconds that these take at the rate of a matrix product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will take; bytes and seconds."""

    facts: Mapping[str, Any]
    """Model, loss, dtype, rows, steps ..."""
    memory: Mapping[str, int]
    """Bytes by part while a step's largest micro-batch is worked on."""
    training: int
    """Bytes then, in all."""
    sampling: int
    """Bytes while answers are sampled, in all."""
    limit: int
    fits: bool
    tried: str
    """What of the run was tried: "all", "not the largest micro-batch", or "nothing": where not even the weights fit."""
    disk: int
    disk_free: int
    seconds: Mapping[str, float]
    """By part; empty where nothing was tried."""
    step: StepCost | None
    machine: Machine
    changes: tuple[SettingChange, ...]
    """What to change where it does not fit, cheapest first."""
    warnings: tuple[str, ...]


def make_plan(config: RunConfig, *, limit: int | None = None, display: Progress | None = None) -> Plan:
    """
    Find out what a run of this configuration would take, as one process.

    Its feedback is read and tokenised and a few micro-batches are worked on as the run would, in a temporary folder
    that is gone afterwards; there is no run folder, and nothing is added to the reference cache.

    Args:
        config: all settings.
        limit: bytes that the run may take; what is free on the device if left out.
        display: told of the progress.

    Raises:
        UserError: what `align` would refuse of the configuration, the data or the model.
    """
    display = display or NullProgress()
    device = choose_device(config.model.device)
    check_extras(config, device)
    dtype = choose_dtype(config.model.dtype, device)
    limit = limit or free_memory(device)
    loss = configured_loss(config)
    with TemporaryDirectory(prefix="haloes-plan-") as folder, computing_with(config.train.threads):
        began = time.perf_counter()
        inputs = make_inputs(config, Path(folder), loss, Ranks(0, 1), check=False, display=display)
        reading = time.perf_counter() - began
        loss = with_weights(loss, **label_weights(inputs.facts))
        sizes = sizes_by_name(config.model.name, config.model.lora, values=loss.needs.values)
        subject = Subject(config=config, loss=loss, inputs=inputs, sizes=sizes, device=device, dtype=dtype)
        machine = look(dtype, device, width=sizes.width)
        load = _known_load(subject)
        trial = None
        if memory(sizes, load).peak <= limit:
            trial = try_out(subject, load, folder=Path(folder), reading=reading, limit=limit, display=display)
        return _told(subject, load, trial, machine, limit=limit)


def _known_load(subject: Subject) -> StepLoad:
    """What is known of a run's memory before anything is tried."""
    config, sizes = subject.config, subject.sizes
    return StepLoad(
        itemsize=itemsize(subject.dtype),
        moments=moments(config),
        reference=_reference(subject),
        chunk=max(1, CHUNK_BYTES // (FLOAT32 * sizes.vocabulary)) if subject.loss.needs.logps else 0,
        four_bits=0 if config.model.quantize is None else sizes.blocks,
        checkpointing=config.train.gradient_checkpointing,
        offload=config.train.activation_offload,
        sampled_while_training=config.watch.prompts > 0,
        base=held(subject.device) if subject.device.type == "cpu" else 0,
    )


def _reference(subject: Subject) -> int:
    """
    Numbers that are kept of a reference while steps are taken.

    None where it is the model with its adapter off, or waits in a file: it is there before a step's gradients are, and
    is not larger.
    """
    config, needs, sizes = subject.config, subject.loss.needs, subject.sizes
    if config.model.reference is not None:
        return sizes_by_name(config.model.reference, None).weights
    if needs.sync_every is not None:
        return sizes.trained
    copied = needs.any_reference and config.model.lora is None and subject.device.type != "cpu"
    return sizes.weights if copied else 0


def _told(subject: Subject, known: StepLoad, trial: TrialResult | None, machine: Machine, *, limit: int) -> Plan:
    sizes, load = subject.sizes, known if trial is None else trial.load
    found = memory(sizes, load)
    disk, free = 0, free_disk(Path("runs"))
    if trial is not None:
        disk = disk_bytes(subject.config, sizes, trial.work, train=subject.inputs.train, itemsize=load.itemsize)
    warnings = thread_warnings(machine, os.environ)
    if disk > free:
        warnings.append(f"the run takes {size(disk)} on disk, and {size(free)} are free here")
    if trial is not None and subject.device.type == "cpu" and trial.typical.busy < _BUSY * machine.threads:
        warnings.append(
            f"other programs used the processor: this one had {trial.typical.busy / machine.threads:.0%} of its "
            "threads' time, and all times are for a machine that is as busy"
        )
    if trial is not None and not subject.config.train.reference_cache and trial.work.reference_tokens:
        warnings.append("train.reference_cache=false: every pass and every run computes the reference again")
    return Plan(
        facts=_facts(subject, load, trial),
        memory=found.parts,
        training=found.training,
        sampling=found.sampling,
        limit=limit,
        fits=found.peak <= limit,
        tried="nothing" if trial is None else "all" if trial.complete else "not the largest micro-batch",
        disk=disk,
        disk_free=free,
        seconds={} if trial is None else seconds(trial.work, trial.rates),
        step=None if trial is None else _step_cost(subject, trial, machine),
        machine=machine,
        changes=tuple(advise(sizes, load, _options(subject, trial), limit=limit)),
        warnings=tuple(warnings),
    )


def _facts(subject: Subject, load: StepLoad, trial: TrialResult | None) -> dict[str, Any]:
    config, train = subject.config, subject.inputs.train
    facts = {
        "model": config.model.name,
        "loss": config.loss["name"],
        "trained": "all weights" if config.model.lora is None else f"LoRA, rank {config.model.lora.rank}",
        "numbers that are trained": subject.sizes.trained,
        "device": str(subject.device),
        "dtype": str(subject.dtype).removeprefix("torch."),
        "rows": train.num_examples,
        "tokens": train.num_tokens,
        "tokens of the longest sequence": train.longest,
    }
    if trial is None:
        return facts
    return facts | {"steps": trial.work.steps, "tokens of the largest micro-batch": load.tokens}


def _step_cost(subject: Subject, trial: TrialResult, machine: Machine) -> StepCost:
    passed = trial.typical
    operations = training_operations(subject.sizes, passed.layout, full=subject.config.model.lora is None)
    operations += sum(forward_operations(subject.sizes, passed.mismatched))
    return StepCost(
        tokens=passed.tokens,
        seconds=passed.seconds,
        reference_seconds=passed.reference_seconds,
        operations=operations,
        floor=operations / machine.rate,
    )


def _options(subject: Subject, trial: TrialResult | None) -> Options:
    config, train = subject.config, subject.inputs.train
    lengths = (train.prompt_length + train.completion_length).reshape(-1, train.sequences_per_example).sum(axis=1)
    adapters = None
    if config.model.lora is None and config.model.reference is None:
        adapters = sizes_by_name(config.model.name, LoRA())
    return Options(
        budget=0 if trial is None else trial.budget,
        longest=int(lengths.max()),
        longest_sequence=train.longest,
        max_length=config.tokens.max_length,
        batch_size=config.samples.batch_size,
        with_lora=adapters,
    )
