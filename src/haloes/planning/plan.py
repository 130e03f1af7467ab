"""The plan of a run: what it will take. Its data are read, a few of its steps are tried, and nothing is kept."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from haloes.models.adapters import LoRA
from haloes.models.lm_head import CHUNK_BYTES
from haloes.planning.advice import Options, SettingChange, advise
from haloes.planning.cost_model import (
    FLOAT32,
    ModelSize,
    StepLoad,
    forward_operations,
    memory,
    seconds,
    training_operations,
)
from haloes.planning.find_rate import RateSearch, find_rate
from haloes.planning.machine import Machine, measure_machine, thread_warnings
from haloes.planning.model_size import itemsize, sizes_by_name
from haloes.planning.trial import TrialMeasurements, try_out
from haloes.planning.workload import disk_bytes, free_disk, moments
from haloes.progress.contract import NullProgress, Progress
from haloes.progress.time_left import about
from haloes.report.numbers import rounding_sentence, size
from haloes.runs.auto_settings import dtype_name
from haloes.runs.config import RunConfig
from haloes.runs.long_runs import shorter
from haloes.runs.prepared_run import PreparedData
from haloes.runs.process import computing_with
from haloes.runs.setup import prepare_data, resolve_run
from haloes.training.choose_steps import describe_steps, too_few_steps
from haloes.training.distributed import Ranks
from haloes.training.microbatch_size import bytes_in_use, free_memory

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
    """The needs of a run, in bytes and seconds."""

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
    """Extent of the trial: "all", "not the largest micro-batch", or "nothing", where not even the weights fit."""
    disk: int
    disk_free: int
    seconds: Mapping[str, float]
    """By part; empty where nothing was tried."""
    step: StepCost | None
    machine: Machine
    rates: RateSearch | None
    """Learning rates that were tried, where that was asked for and the run fits."""
    changes: tuple[SettingChange, ...]
    """Changes of settings where it does not fit, cheapest first."""
    could_show: str | None
    """What the held-out prompts can show, in a sentence; None where none are answered."""
    notes: tuple[str, ...]
    """Sentences on what stands in for "auto": the steps, and the learning rate with its reason."""
    warnings: tuple[str, ...]


def make_plan(
    config: RunConfig, *, limit: int | None = None, find_lr: bool = False, progress: Progress | None = None
) -> Plan:
    """
    Find out what a run of this configuration would take, as one process.

    Its feedback is read and tokenised and a few micro-batches are worked on as the run would, in a temporary folder
    that is gone afterwards; there is no run folder, and nothing is added to the reference cache.

    Args:
        config: all settings.
        limit: bytes that the run may take; what is free on the device if left out.
        find_lr: try learning rates for `train.kl_budget`, too.
        progress: told how far the work is.

    Raises:
        UserError: what `align` would refuse of the configuration, the data or the model.
    """
    progress = progress or NullProgress()
    with TemporaryDirectory(prefix="haloes-plan-") as folder:
        # As one process, whatever started this one: all numbers are of one.
        run = resolve_run(config, Path(folder), ranks=Ranks(0, 1))
        limit = limit or free_memory(run.device)
        with computing_with(config.train.threads):
            began = time.perf_counter()
            data = prepare_data(run, progress=progress)
            reading = time.perf_counter() - began
            sizes = sizes_by_name(config.model.name, config.model.lora, values=data.loss.needs.values)
            progress.stage("measuring the machine")
            machine = measure_machine(run.dtype, run.device, width=sizes.width)
            load = _known_load(data, sizes)
            trial = None
            # What surely does not fit is not tried: loading it would end the process, not the plan.
            if memory(sizes, load).peak <= limit:
                trial = try_out(data, sizes, load, reading=reading, limit=limit, progress=progress)
            plan = _make_plan(data, sizes, load, trial, machine, limit=limit, loss=str(config.loss["name"]))
            # After the trial, whose model is out of memory by now: at most one is there at a time.
            if find_lr and plan.fits:
                return replace(plan, rates=find_rate(data, limit=limit, progress=progress))
            untried = ("no learning rate was tried, since the run does not fit",) if find_lr else ()
            return replace(plan, warnings=(*plan.warnings, *untried))


def _known_load(data: PreparedData, sizes: ModelSize) -> StepLoad:
    """Return what is known of a run's memory before anything is tried."""
    run, config = data.run, data.run.config
    return StepLoad(
        itemsize=itemsize(run.dtype),
        moments=moments(config.train),
        reference=_reference_numbers(data, sizes),
        chunk=max(1, CHUNK_BYTES // (FLOAT32 * sizes.vocabulary)) if data.loss.needs.logps else 0,
        four_bits=0 if config.model.quantize is None else sizes.blocks,
        checkpointing=config.train.gradient_checkpointing,
        offload=config.train.activation_offload,
        sampled_while_training=config.watch.prompts > 0,
        base=bytes_in_use(run.device) if run.device.type == "cpu" else 0,
    )


def _reference_numbers(data: PreparedData, sizes: ModelSize) -> int:
    """
    Return how many numbers of a reference are kept in memory while steps are taken.

    None where it is the model with its adapter off, or waits in a file: it is there before a step's gradients are, and
    is not larger.
    """
    model, needs = data.run.config.model, data.loss.needs
    if model.reference is not None:
        return sizes_by_name(model.reference, None).weights
    if needs.sync_every is not None or (model.init is not None and model.lora is not None):
        return sizes.trained
    # With full tuning it is a copy: on a GPU in its memory, on a CPU in a file that is mapped while it computes.
    copied = needs.any_reference and model.lora is None and data.run.device.type != "cpu"
    return sizes.weights if copied else 0


def _make_plan(
    data: PreparedData,
    sizes: ModelSize,
    known: StepLoad,
    trial: TrialMeasurements | None,
    machine: Machine,
    *,
    limit: int,
    loss: str,
) -> Plan:
    """Put together what is known of a run, and what its trial found where there was one."""
    load = known if trial is None else trial.load
    needed = memory(sizes, load)
    settings, train = data.run.config.train, data.inputs.train
    disk, free = 0, free_disk(Path("runs"))
    if trial is not None:
        disk = disk_bytes(settings, sizes, trial.work, train=train, itemsize=load.itemsize)
    warnings = thread_warnings(machine, os.environ)
    if disk > free:
        warnings.append(f"the run takes {size(disk)} on disk, and {size(free)} are free here")
    if trial is not None and data.run.device.type == "cpu" and trial.typical.busy < _BUSY * machine.threads:
        warnings.append(
            f"other programs used the processor: this one had {trial.typical.busy / machine.threads:.0%} of its "
            "threads' time, and all times are for a machine that is as busy"
        )
    if trial is not None and not settings.reference_cache and trial.work.reference_tokens:
        warnings.append("train.reference_cache=false: every pass and every run computes the reference again")
    if trial is not None and (few := too_few_steps(train.num_examples, trial.steps)):
        warnings.append(few)
    return Plan(
        facts=_facts(data, sizes, load, trial, loss=loss),
        memory=needed.parts,
        training=needed.training,
        sampling=needed.sampling,
        limit=limit,
        fits=needed.peak <= limit,
        tried="nothing" if trial is None else "all" if trial.complete else "not the largest micro-batch",
        disk=disk,
        disk_free=free,
        seconds={} if trial is None else seconds(trial.work, trial.rates),
        step=None if trial is None else _step_cost(sizes, trial, machine),
        machine=machine,
        notes=() if trial is None else tuple(_notes(trial, num_examples=train.num_examples)),
        rates=None,
        changes=tuple(advise(sizes, load, _options(data, trial), limit=limit)),
        could_show=data.could_show,
        warnings=tuple(warnings),
    )


def _facts(
    data: PreparedData, sizes: ModelSize, load: StepLoad, trial: TrialMeasurements | None, *, loss: str
) -> dict[str, Any]:
    """Describe the run in the words of the plan: model, loss, device, rows and steps; `loss` as the user named it."""
    run, train = data.run, data.inputs.train
    lora = run.config.model.lora
    facts = {
        "model": run.config.model.start,
        "loss": loss,
        "trained": "all weights" if lora is None else f"LoRA, rank {lora.rank}",
        "numbers that are trained": sizes.trained,
        "device": str(run.device),
        "dtype": dtype_name(run.dtype),
        "rows": train.num_examples,
        "tokens": train.num_tokens,
        "tokens of the longest sequence": train.longest,
    }
    if trial is None:
        return facts
    return facts | {
        "steps": trial.work.steps,
        "examples in a step": trial.steps.batch_size,
        "passes over the data": trial.steps.epochs,
        "learning rate": trial.lr,
        "tokens of the largest micro-batch": load.tokens,
    }


def _notes(trial: TrialMeasurements, *, num_examples: int) -> Iterator[str]:
    yield describe_steps(num_examples, trial.steps)
    parts = seconds(trial.work, trial.rates)
    of_steps = parts["reference"] + parts["training steps"]
    if advice := shorter(of_steps, epochs=trial.steps.epochs):
        yield f"The steps take about {about(of_steps)}: {advice}"
    yield f"Learning rate {trial.lr:g}" + ("" if trial.rate is None else f": {trial.rate.why}")
    if trial.rounding is not None:
        yield f"Rounding: {rounding_sentence(**asdict(trial.rounding))}"


def _step_cost(sizes: ModelSize, trial: TrialMeasurements, machine: Machine) -> StepCost:
    passed = trial.typical
    operations = training_operations(sizes, passed.layout, full=sizes.head_trained)
    operations += sum(forward_operations(sizes, passed.mismatched))
    return StepCost(
        tokens=passed.tokens,
        seconds=passed.seconds,
        reference_seconds=passed.reference_seconds,
        operations=operations,
        floor=operations / machine.rate,
    )


def _options(data: PreparedData, trial: TrialMeasurements | None) -> Options:
    config, train = data.run.config, data.inputs.train
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
