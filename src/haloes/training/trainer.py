"""The training loop: one for all losses. It asks a loss what it needs, and nothing else about it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import torch

from haloes.errors import ConfigError, Interrupted, RunError
from haloes.models.dropout import set_dropout
from haloes.models.quiet import quiet
from haloes.run_files import BEST, CHECKPOINTS
from haloes.training.early_stopping import EarlyStopping
from haloes.training.follow import from_main
from haloes.training.job import Callback, TrainJob, TrainResult, make_stepper, token_budget, training_schedule
from haloes.training.kl_limit import KLLimit
from haloes.training.loss_state import LossState
from haloes.training.optimizer import Masters, make_masters, make_optimizer
from haloes.training.run_log import RunLog
from haloes.training.run_state import RunState, make_writer, score_before
from haloes.training.settings import TrainSettings, budget_of, is_validated, settled
from haloes.training.take_back import Change
from haloes.training.validation import Validation, make_schedule
from haloes.training.write_behind import CheckpointWriter


def train(job: TrainJob, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """
    Train the job's policy in place, from its newest intact checkpoint if there is one; leave it in eval mode.

    Raises:
        Interrupted: `stop` said so; the run can be resumed.
        RunError: the checkpoint belongs to another run, a loss or gradient is not finite, memory or disk ran out.
        DataError: there is nothing to train on, or a reference point needs more than one prompt.
    """
    settings = job.settings
    if job.loss.needs.sync_every is not None and job.cache is not None:
        raise ConfigError(
            "the loss syncs its reference with the policy, and what is cached of the reference would be of an older "
            "one: set train.reference_cache=false"
        )
    try:
        with trainable(job) as masters, closing(make_writer(job, masters)) as writer:
            return _train(job, masters, writer, callbacks)
    except (RuntimeError, MemoryError) as error:
        cause = _out_of_memory(error, settings, token_budget(job))
        if cause is None:
            raise
        raise cause from error


@contextmanager
def trainable(job: TrainJob) -> Iterator[Masters]:
    """Make the job's policy ready to be trained inside the block; leave it in eval mode without gradients."""
    settings = job.settings
    set_dropout(job.policy.model, settings.dropout)
    if settings.gradient_checkpointing:
        with quiet():  # its name changes with transformers 6, and the present one warns of it
            job.policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    job.policy.model.train()
    masters = make_masters(job.policy.trainable())
    try:
        yield masters
    finally:
        masters.release()
        job.policy.model.eval()


def _train(job: TrainJob, masters: Masters, writer: CheckpointWriter, callbacks: Sequence[Callback]) -> TrainResult:
    """Run the steps that are left; what can be refused is refused before the first of them."""
    settings = job.settings
    stepper = make_stepper(job, job.train, cut=job.cut)
    _check_validation(job)
    schedule = training_schedule(job, stepper)
    run = RunState(
        job=job,
        masters=masters,
        optimizer=make_optimizer(masters, settings),
        loss_state=LossState(job.loss.needs, job.policy),
        logp_before=[None if store is None else score_before(job, store) for store in (job.validation, job.selection)],
        change=None if job.falls_apart is None else Change(masters, job.run_dir),
        writer=writer,
    )
    saved, damaged = run.resume()
    done = 0 if saved is None else saved.step
    log = RunLog(job, callbacks, saved)
    damaged += log.mended()
    for text in damaged:
        job.progress.note(f"warning: {text}")
    best = EarlyStopping(settings.keep_best, settings.early_stop, log.lines())
    # What a resumption from the newest checkpoint takes for the best: its weights stay until there is a newer one.
    safe_best = best.step
    limit = KLLimit(None if job.drift is None else budget_of(settings), log.lines())
    for callback in callbacks:
        callback.on_start(step=done, num_steps=schedule.num_steps)
    began = time.perf_counter()
    validation: Validation | None = None
    step = done
    while step < schedule.num_steps and not (best.should_stop or limit.should_stop):
        writer.look()
        limit.update(step + 1, run.take_step(stepper, schedule, step, log))
        step += 1
        if _is_due(job, step, schedule.num_steps, ends=limit.should_stop):
            validation = run.validate(chooses=True)
            # One process's numbers on all, so that every one of them stops early at the same step or not.
            numbers = from_main(job.policy, job.ranks, partial(_numbers, job, step, validation))
            log.validation(step, numbers)
            if best.update(step, numbers):
                run.save(BEST, step, log, bests=(safe_best, step))
        last = step == schedule.num_steps or best.should_stop or limit.should_stop
        # Asked of all: a signal reaches the processes at different times, and they must stop after the same step.
        with run.kept(step, log):
            stopped = not last and job.ranks.any(job.stop())
        due = last or stopped or step % settings.checkpoint_every == 0
        if due:
            safe_best = best.step
            run.save(CHECKPOINTS, step, log, bests=(safe_best,))
        if stopped:
            writer.wait()
            raise Interrupted(step, schedule.num_steps, job.run_dir)
    writer.wait()
    best_step, problems = run.keep_weights(best.step, last=step)
    kept_share = run.take_back()
    # The last validation may be of other weights, or of the rows that chose.
    if best_step is not None or job.selection is not None or kept_share < 1:
        validation = None
    if validation is None and job.validation is not None:
        validation = run.validate(chooses=False)
    seconds = time.perf_counter() - began
    damages = (*damaged, *problems)
    return TrainResult(schedule.num_steps, seconds, validation, damages, best_step, limit.passed, kept_share)


def _numbers(job: TrainJob, step: int, validation: Validation) -> Mapping[str, Any]:
    """Return the numbers of a validation, for its line in the metrics."""
    return {**validation.metrics(rounding=job.rounding), **job.measure(step, validation)}


def _check_validation(job: TrainJob) -> None:
    """Raise before the training, and not after it, where it cannot be validated."""
    settings = job.settings
    if job.validation is None and settings.keep_best is not None:
        raise ConfigError("train.keep_best needs held-out feedback: feedback.validation, or feedback.validation_share")
    for store in (job.validation, job.selection):
        if store is not None:
            size = settled(settings.batch_size, "batch_size")
            make_schedule(make_stepper(job, store), batch_size=size, epochs=1, seed=settings.seed)


def _is_due(job: TrainJob, step: int, num_steps: int, *, ends: bool) -> bool:
    return job.validation is not None and (ends or is_validated(job.settings, step, num_steps))


def _out_of_memory(error: Exception, settings: TrainSettings, budget: int) -> RunError | None:
    if not (isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)):
        return None
    more = "" if settings.gradient_checkpointing else " or set train.gradient_checkpointing=true"
    return RunError(
        f"out of memory with {budget} tokens in a micro-batch: set train.microbatch_tokens={budget // 2}{more}, "
        "and resume; the result does not depend on either"
    )
