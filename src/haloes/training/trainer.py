"""The training loop: one for all losses. It asks a loss what it needs, and nothing else about it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import torch

from haloes.errors import ConfigError, RunError
from haloes.losses._contract import Loss
from haloes.models.dropout import set_dropout
from haloes.models.policy import Policy
from haloes.models.quiet import quiet
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.store import TokenStore
from haloes.training import checkpoint
from haloes.training.log import MetricsLog
from haloes.training.memory import Memory
from haloes.training.metrics import step_metrics
from haloes.training.optimizer import Masters, make_masters, make_optimizer
from haloes.training.ragged import Numbers
from haloes.training.ranks import Ranks
from haloes.training.scoring import Reference, ReferenceTokens, ReferenceTotals
from haloes.training.settings import TrainSettings, learning_rate
from haloes.training.step import Stepper
from haloes.training.tables import Table
from haloes.training.validation import Validation, make_schedule, validate

GIB = 2**30


class Interrupted(Exception):  # noqa: N818 - it is what happened, not an error
    """The run was stopped by its user after a whole step, and everything was saved."""

    def __init__(self, step: int, num_steps: int) -> None:
        """`step` steps of `num_steps` are done."""
        super().__init__(f"stopped after step {step} of {num_steps}")
        self.step, self.num_steps = step, num_steps


class Watcher(Protocol):
    """Somebody who looks on: a progress bar, a logger, a test."""

    def started(self, *, step: int, num_steps: int) -> None:
        """Training begins, with `step` of `num_steps` steps already done."""

    def wrote(self, numbers: Mapping[str, Any]) -> None:
        """A line was added to the metrics: of a step ("split": "train") or of a validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Everything that a training run consists of."""

    policy: Policy
    loss: Loss[Any]
    train: TokenStore
    validation: TokenStore | None
    settings: TrainSettings
    run_dir: Path
    """Takes `metrics.jsonl` and the folder `checkpoints`."""
    identity: Mapping[str, str]
    """What must be the same when the run is resumed, by name: hashes of the data, the tokenizer, the settings ..."""
    allow_changes: bool = False
    """Resume all the same when it is not."""
    ranks: Ranks
    cache: ReferenceCache | None
    measure: Callable[[Validation], Mapping[str, float]]
    """Further numbers of a validation, for its line in the metrics."""
    stop: Callable[[], bool]
    """Asked after every step; True ends the run with everything saved."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run leaves, beside the trained policy and its files."""

    num_steps: int
    seconds: float
    """Of this process; not counting what was done before a resumption."""
    validation: Validation | None
    damaged: tuple[str, ...]
    """A sentence about each damaged checkpoint that was passed over."""


def train(job: TrainJob, watchers: Sequence[Watcher] = ()) -> Outcome:
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
    set_dropout(job.policy.model, settings.dropout)
    if settings.gradient_checkpointing:
        with quiet():  # its name changes with transformers 6, and the present one warns of it
            job.policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    job.policy.model.train()
    masters = make_masters(job.policy.trainable())
    try:
        return _train(job, masters, watchers)
    except (RuntimeError, MemoryError) as error:
        cause = _out_of_memory(error, settings, _budget(job))
        if cause is None:
            raise
        raise cause from error
    finally:
        masters.release()
        job.policy.model.eval()


def _train(job: TrainJob, masters: Masters, watchers: Sequence[Watcher]) -> Outcome:
    settings = job.settings
    optimizer = make_optimizer(masters, settings)
    stepper = _stepper(job, job.train)
    schedule = make_schedule(stepper, batch_size=settings.batch_size, epochs=settings.epochs, seed=settings.seed)
    if job.validation is not None:
        # What cannot be validated is refused here, and not after the training.
        make_schedule(_stepper(job, job.validation), batch_size=settings.batch_size, epochs=1, seed=settings.seed)
    start = None if job.validation is None else _validation_start(job, job.validation)
    memory = Memory(job.loss.needs, job.policy)
    done, damaged = _resume(job, masters, optimizer, memory)
    log = _Log(job, watchers, done)
    for watcher in watchers:
        watcher.started(step=done, num_steps=schedule.num_steps)
    began = time.perf_counter()
    validation: Validation | None = None
    for index in range(done, schedule.num_steps):
        lap = time.perf_counter()
        _seed_dropout(settings.seed, index, job.ranks)
        table = stepper.run(schedule.step(index), backward=True, running_reward=memory.running_reward)
        _check_finite(table, job.train)
        rate = learning_rate(settings, index, schedule.num_steps)
        norm = _update(masters, optimizer, rate, settings.max_grad_norm, job.ranks, step=index + 1)
        log.step(table, rate=rate, norm=norm, seconds=time.perf_counter() - lap, per_epoch=schedule.steps_per_epoch)
        memory.after(table, step=index + 1)
        last = index + 1 == schedule.num_steps
        validation = _validate_if_due(job, log, index + 1, start, memory, last=last)
        stopped = not last and job.ranks.any(job.stop(), job.policy.device)
        if last or stopped or (index + 1) % settings.checkpoint_every == 0:
            _save(job, masters, optimizer, memory, index + 1)
        if stopped:
            raise Interrupted(index + 1, schedule.num_steps)
    if done == schedule.num_steps:
        validation = _validate_if_due(job, None, done, start, memory, last=True)
    return Outcome(schedule.num_steps, time.perf_counter() - began, validation, tuple(damaged))


def _stepper(job: TrainJob, store: TokenStore) -> Stepper:
    budget, device, needs = _budget(job), job.policy.device, job.loss.needs
    reference: Reference | None = None
    if needs.reference_tokens:
        reference = ReferenceTokens(job.policy.reference_logps, budget, device)
    elif needs.any_reference:
        reference = ReferenceTotals(job.policy.reference_logps, job.cache, budget, device)
    return Stepper(job.policy, job.loss, store, job.ranks, reference, budget, job.settings.microbatch_examples)


def _validation_start(job: TrainJob, store: TokenStore) -> Numbers | None:
    """
    log p of each held-out sequence before training, (n,), for losses without a reference, or with one that moves.

    The others compare with the very same numbers, which their reference gives them.
    """
    needs = job.loss.needs
    if needs.any_reference and needs.sync_every is None:
        return None
    own = np.array(job.ranks.share(range(len(store))), np.int64)
    start = np.zeros(len(store))
    with job.policy.scoring():
        before = ReferenceTotals(job.policy.token_logps, job.cache, _budget(job), job.policy.device)
        start[own] = before.of(store, np.stack([own, own], axis=1)).totals
    return job.ranks.sum(torch.from_numpy(start).to(job.policy.device)).cpu().numpy()


def _budget(job: TrainJob) -> int:
    return job.settings.microbatch_tokens or (16384 if job.policy.device.type == "cuda" else 1024)


def _resume(job: TrainJob, masters: Masters, optimizer: torch.optim.Optimizer, memory: Memory) -> tuple[int, list[str]]:
    found, damaged = checkpoint.newest(job.run_dir / "checkpoints")
    if found is None:
        return 0, damaged
    changed = [name for name, value in job.identity.items() if found.identity.get(name) != value]
    if changed and not job.allow_changes:
        raise RunError(
            f"{found.path} was written by a run with another {' and '.join(changed)}; "
            "use the same as before, or start a new run in another folder"
        )
    memory.restore(checkpoint.restore(found, masters, optimizer))
    return found.step, damaged


def _seed_dropout(seed: int, step: int, ranks: Ranks) -> None:
    """Random numbers of a step depend on nothing before it, so that there is no state to save."""
    entropy = np.random.SeedSequence([seed, step, ranks.index]).generate_state(1, np.uint64)
    torch.manual_seed(int(entropy[0] >> 1))


def _check_finite(table: Table, store: TokenStore) -> None:
    """Stop at the first number that is not finite, before it reaches the weights; name the rows it comes from."""
    own = table.logp if table.log_ratio is None else table.logp + table.log_ratio
    mismatched = np.empty(0) if table.mismatched is None else table.mismatched
    faulty = [
        table.sequences[~np.isfinite(own)],
        # Through the reference point one row spoils the loss of all: these count only where no row's own is at fault.
        table.step.mismatched[~np.isfinite(mismatched)],
        table.step.examples[~np.isfinite(table.loss)] * store.sequences_per_example,
    ]
    faults = next((sorted({int(i) for i in rows}) for rows in faulty if len(rows)), [])
    if faults:
        raise RunError(
            f"step {table.step.index + 1}: the loss or a log-probability is not finite for {len(faults)} row(s): "
            f"{', '.join(store.name(i) for i in faults[:8])}. The weights were not changed, and the last checkpoint is "
            "good. Look at these rows; lower train.lr if rewards had been running away"
        )


def _update(
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    rate: float,
    max_norm: float,
    ranks: Ranks,
    *,
    step: int,
) -> float:
    gradients = masters.gradients()
    ranks.sum_each(gradients)
    norm = float(torch.nn.utils.clip_grad_norm_(list(masters.weights.values()), max_norm))
    if not np.isfinite(norm):
        raise RunError(
            f"step {step}: the gradient is not finite (norm {norm}) though every loss is. The weights were not changed "
            "and the last checkpoint is good; lower train.lr, or compute in float32 (model.dtype)"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    masters.publish()
    masters.zero_grad()
    return norm


def _validate_if_due(
    job: TrainJob, log: "_Log | None", step: int, start: Numbers | None, memory: Memory, *, last: bool
) -> Validation | None:
    every = job.settings.validate_every
    if job.validation is None or not (last or (every is not None and step % every == 0)):
        return None
    found = validate(
        _stepper(job, job.validation),
        batch_size=job.settings.batch_size,
        seed=job.settings.seed,
        start=start,
        running_reward=memory.running_reward,
    )
    if log is not None:
        log.validation(step, {**found.metrics(), **job.measure(found)})
    return found


def _save(job: TrainJob, masters: Masters, optimizer: torch.optim.Optimizer, memory: Memory, step: int) -> None:
    if job.ranks.is_main:
        checkpoint.save(
            job.run_dir / "checkpoints",
            step=step,
            masters=masters,
            optimizer=optimizer,
            memory=memory.state(),
            identity=job.identity,
            keep=job.settings.keep_checkpoints,
        )
    job.ranks.wait()


def _out_of_memory(error: Exception, settings: TrainSettings, budget: int) -> RunError | None:
    if not (isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)):
        return None
    more = "" if settings.gradient_checkpointing else " or set train.gradient_checkpointing=true"
    return RunError(
        f"out of memory with {budget} tokens in a micro-batch: set train.microbatch_tokens={budget // 2}{more}, "
        "and resume; the result does not depend on either"
    )


class _Log:
    """Metrics to file and watchers, from the main process only."""

    def __init__(self, job: TrainJob, watchers: Sequence[Watcher], done: int) -> None:
        self._job, self._watchers = job, watchers
        self._file = MetricsLog(job.run_dir / "metrics.jsonl", from_step=done) if job.ranks.is_main else None

    def step(self, table: Table, *, rate: float, norm: float, seconds: float, per_epoch: int) -> None:
        store = self._job.train
        tokens = sum(store.length(int(i)) for i in table.sequences)
        self._write(
            {
                "step": table.step.index + 1,
                "split": "train",
                **step_metrics(table, store),
                "learning_rate": rate,
                "grad_norm": norm,
                "epoch": (table.step.index + 1) / per_epoch,
                "tokens_per_second": tokens / seconds,
                "memory_gib": _memory_gib(self._job.policy.device),
            }
        )

    def validation(self, step: int, numbers: Mapping[str, float]) -> None:
        self._write({"step": step, "split": "validation", **numbers})

    def _write(self, numbers: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(numbers)
            for watcher in self._watchers:
                watcher.wrote(numbers)


def _memory_gib(device: torch.device) -> float:
    """Peak memory on a GPU; this process's resident memory now on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return float(psutil.Process().memory_info().rss) / GIB
