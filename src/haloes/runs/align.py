"""The main job: from feedback to an aligned model, measured before and after on what was held out."""

import dataclasses
import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from haloes.errors import RunError
from haloes.judging._contract import Judge
from haloes.losses._contract import Loss
from haloes.losses._weights import with_weights
from haloes.models.device import choose_device
from haloes.records import Score
from haloes.report.load import load_run
from haloes.run_files import METRICS, SAMPLES
from haloes.runs import run_folder as folder
from haloes.runs.callbacks import NullProgress, Progress, tensorboard_if_installed
from haloes.runs.config import RunConfig
from haloes.runs.finish import RunContext, answer, finish
from haloes.runs.inputs import make_inputs
from haloes.runs.live_judge import configured_judge
from haloes.runs.measure import Rater, load_rater, rate
from haloes.runs.monitor import Monitor, make_live_judge
from haloes.runs.process import computing_with, stop_on_interrupt
from haloes.runs.setup import (
    check_extras,
    compute_dtype,
    configured_loss,
    label_weights,
    load_policy,
    reference_cache,
    resolved,
    with_budget,
)
from haloes.runs.warnings import data_warnings, speed_warnings
from haloes.training.distributed import Ranks, this_rank
from haloes.training.microbatch_size import free_memory, held
from haloes.training.trainer import TrainJob, TrainResult, Watcher, train


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    run_dir: Path
    """Its folder: the model, the report, and every number."""
    scores: tuple[Score, ...]
    """What was measured on held-out prompts, before and after; empty on all processes but the main one."""
    num_steps: int
    is_main: bool = True
    """Whether this process is the one that wrote the files."""
    was_finished: bool = False
    """Whether it was finished before, so that nothing was left to do on resuming it."""


def align(
    config: RunConfig,
    run_dir: Path,
    *,
    loss: Loss[Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    display: Progress | None = None,
) -> Run:
    """
    Carry a run out, or go on with it from its newest checkpoint.

    Args:
        config: all settings.
        run_dir: the run's folder; a new one, unless the run is resumed.
        loss: a loss to use in place of the configuration's.
        resume: go on with the run that the folder holds.
        allow_changes: resume even if the data, the tokenizer, the model or the settings are not what they were.
        display: who is told of the progress.

    Raises:
        UserError: something that the user can put right; nothing is left half-written.
        Interrupted: the user stopped the run, which was saved and can be resumed.
    """
    began = time.perf_counter()
    device = choose_device(config.model.device)
    check_extras(config, device)
    ranks = this_rank(device)
    # Both may be found out differently by each process: the folder by its number, the dtype by its speed.
    run_dir, dtype = ranks.broadcast((run_dir, compute_dtype(config, run_dir, device, resume=resume)))
    display = display if display is not None and ranks.is_main else NullProgress()
    loss = loss or configured_loss(config)
    config = resolved(config, loss, dtype)
    known = ranks.broadcast(_finished(config, run_dir) if resume and not allow_changes else None)
    if known is not None:
        return dataclasses.replace(known, is_main=ranks.is_main)
    rater = load_rater(config.samples.rater) if config.samples.rater else None
    judge = configured_judge(config)
    check = resume and not allow_changes
    with _claimed(run_dir, ranks, resume=resume), computing_with(config.train.threads):
        inputs = make_inputs(config, run_dir, loss, ranks, check=check, display=display)
        weights = label_weights(inputs.facts)
        weighted = with_weights(loss, **weights)
        if weighted != loss and ranks.is_main:
            folder.note_weights(run_dir, weights)
        loss = weighted
        policy = load_policy(config, loss, inputs, device=device, dtype=dtype, display=display)
        free = (free_memory(device) - held(device)) // (ranks.count if device.type == "cpu" else 1)
        config = ranks.broadcast(with_budget(config, policy, free=free))
        inputs.identity["reference model"] = policy.reference_fingerprint
        if policy.start_fingerprint is not None:
            inputs.identity["model"] = policy.start_fingerprint
        if check:
            folder.check_identity(run_dir, inputs.identity)
        context = RunContext(config, run_dir, policy, inputs, display)
        warnings = data_warnings(inputs.facts, loss)
        if policy.unpacked_because is not None:
            warnings.append(f"sequences are padded and not packed, which is slower: {policy.unpacked_because}")
        warnings += speed_warnings(policy.scorer, config.train)
        if ranks.is_main:
            folder.write_config(run_dir, config)
            folder.start(
                run_dir,
                inputs.identity,
                device=str(device),
                processes=ranks.count,
                attention=policy.scorer.attention,
            )
            if allow_changes:
                (run_dir / SAMPLES).unlink(missing_ok=True)
        monitor = _monitor(context, rater, judge, ranks, resume=check)
        outcome = _train(context, loss, ranks, monitor, allow_changes=allow_changes)
        scores: tuple[Score, ...] = ()
        if ranks.is_main:
            warnings += [*outcome.damaged, *monitor.alarms(), *monitor.never_measured()]
            if outcome.best_step is not None:
                warnings.append(
                    f"the model is that after step {outcome.best_step} of {outcome.num_steps}, where "
                    f"{config.train.keep_best} was best"
                )
            scores = finish(context, outcome, rater, warnings)
            folder.finish(run_dir, inputs.identity, seconds=time.perf_counter() - began, steps=outcome.num_steps)
        ranks.barrier()
    return Run(run_dir, scores, outcome.num_steps, ranks.is_main)


def _finished(config: RunConfig, run_dir: Path) -> Run | None:
    """The run as it is, if it is finished and was started with this very configuration."""
    steps = folder.finished_steps(run_dir)
    if steps is None or folder.read_config(run_dir) != config:
        return None
    return Run(run_dir, load_run(run_dir).scores, steps, was_finished=True)


def _train(context: RunContext, loss: Loss[Any], ranks: Ranks, monitor: Monitor, *, allow_changes: bool) -> TrainResult:
    with stop_on_interrupt() as stop:
        job = TrainJob(
            policy=context.policy,
            loss=loss,
            train=context.inputs.train,
            validation=context.inputs.validation,
            settings=context.config.train,
            run_dir=context.run_dir,
            identity=context.inputs.identity,
            allow_changes=allow_changes,
            ranks=ranks,
            cache=reference_cache(context.config, context.policy),
            measure=monitor.measure,
            stop=stop,
        )
        watchers: list[Watcher] = [context.display, monitor, *tensorboard_if_installed(context.run_dir)]
        return train(job, watchers if ranks.is_main else [])


def _monitor(context: RunContext, rater: Rater | None, judge: Judge | None, ranks: Ranks, *, resume: bool) -> Monitor:
    """The answers before training, and whoever says what they are worth; who fails does so now, and not later."""
    before, watching = [], None
    if ranks.is_main:
        before = answer(context, "before")
        if rater is not None:
            rate(rater, before[:1])
        if judge is not None:
            watching = make_live_judge(context, judge, before, resume=resume)
    return Monitor(context, ranks.broadcast(before), rater, watching)


@contextmanager
def _claimed(run_dir: Path, ranks: Ranks, *, resume: bool) -> Iterator[None]:
    """A new run's folder, which is gone again if nothing was trained in it; or the folder of a run to go on with."""
    if resume:
        folder.read_config(run_dir)
    elif ranks.is_main:
        folder.claim(run_dir)
    try:
        yield
    except BaseException as error:
        if ranks.is_main and not resume and not (run_dir / METRICS).exists():
            shutil.rmtree(run_dir, ignore_errors=True)
        cause = _out_of_room(error, run_dir)
        if cause is not None:
            raise cause from error
        raise


def _out_of_room(error: BaseException, run_dir: Path) -> RunError | None:
    """A full disk, or memory that ran out beside the training steps (which say so themselves), in one line."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RunError(f"{run_dir} cannot be written ({error.strerror}); free some space, and start or resume the run")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return RunError(
            "out of memory while the model was loaded, answered or was measured: lower samples.batch_size, or take "
            "model.dtype=bfloat16 or a smaller model"
        )
    return None
