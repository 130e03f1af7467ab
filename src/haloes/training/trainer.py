"""The training loop: one for all losses. It asks a loss what it needs, and nothing else about it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import torch

from haloes.batches.collate import sequences_of
from haloes.batches.schedule import Schedule
from haloes.errors import ConfigError, Interrupted, ProcessEnded, RunError
from haloes.losses._contract import Loss
from haloes.models.dropout import set_dropout
from haloes.models.offload import offloaded
from haloes.models.policy import Policy
from haloes.models.quiet import quiet
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import NullProgress, Progress
from haloes.run_files import BEST, CHECKPOINTS, METRICS
from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenStore
from haloes.training import checkpoint
from haloes.training.completion_logps import Pass, ReferenceSource, ReferenceTokens, ReferenceTotals
from haloes.training.cut import Cut, StepCut, never
from haloes.training.distributed import Ranks
from haloes.training.early_stopping import EarlyStopping
from haloes.training.identity import refuse_changes
from haloes.training.kl_limit import KL, KLLimit, is_looked_at
from haloes.training.loss_state import LossState
from haloes.training.metrics import step_metrics
from haloes.training.metrics_log import MetricsLog, read_metrics
from haloes.training.microbatch_size import MAX_TOKENS
from haloes.training.optimizer import Masters, make_masters, make_optimizer
from haloes.training.settings import TrainSettings, budget_of, is_validated, learning_rate, settled
from haloes.training.step import LayoutHook, Stepper, ignore_layout
from haloes.training.step_table import Table
from haloes.training.step_work import StepWork
from haloes.training.validation import Validation, make_schedule, validate

GIB = 2**30


class Callback(Protocol):
    """Follows a run: a progress bar, a logger, a test."""

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Show that training begins, with `step` of `num_steps` steps already done."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Take a line that was added to the metrics: of a step ("split": "train") or of a validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Everything that a training run consists of."""

    policy: Policy
    loss: Loss[Any]
    train: TokenStore
    validation: TokenStore | None
    """Held-out rows that the result is measured on; None for none."""
    settings: TrainSettings
    run_dir: Path
    """Takes `metrics.jsonl` and the folder `checkpoints`."""
    identity: Mapping[str, str]
    """Hashes of the data, the tokenizer, the settings ... by name (`haloes.training.identity`)."""
    allow_changes: bool = False
    """Resume all the same when the identity has changed."""
    ranks: Ranks
    cache: ReferenceCache | None
    measure: Callable[[int, Validation], Mapping[str, Any]]
    """Returns further numbers of the validation after this many steps, for its line in the metrics; None: no number.
    Called in the main process alone, as `drift` is."""
    stop: Callable[[], bool]
    """Asked after every step; True ends the run with everything saved."""
    selection: TokenStore | None = None
    """Further held-out rows, which are validated on while training and choose the best step: a number is too good on
    the rows by which it was chosen. None: `validation` is validated on while training too."""
    drift: Callable[[int], float] | None = None
    """Returns how far the policy has moved, nats of KL an answer, computed with this many tokens together; None: no
    number, and `train.kl_budget` holds nothing back."""
    cut: Cut = never
    """Asked between two passes; True gives the step up and ends the run with the steps before it saved."""
    on_layout: LayoutHook = ignore_layout
    """Told of the layouts that go through the policy, to count its work."""
    progress: Progress = field(default_factory=NullProgress)
    """Told what of a step is done, and of the stages beside the steps."""
    rounding: float = 0.0
    """Nats by which rounding alone moves an answer's reward (`haloes.training.rounding`); 0 if not measured."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a finished run, beside the trained policy and its files."""

    num_steps: int
    seconds: float
    """Time of this process, without what was done before a resumption."""
    validation: Validation | None
    damaged: tuple[str, ...]
    """A sentence about each damaged checkpoint that was passed over."""
    best_step: int | None = None
    """The step whose weights the policy has; None for the last one."""
    kl_passed: tuple[int, float] | None = None
    """The step after which `train.kl_budget` was spent and the run ended, with the divergence then; None otherwise."""


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
        with trainable(job) as masters:
            return _train(job, masters, callbacks)
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


def _train(job: TrainJob, masters: Masters, callbacks: Sequence[Callback]) -> TrainResult:
    """Run the steps that are left; what can be refused is refused before the first of them."""
    settings = job.settings
    stepper = make_stepper(job, job.train, cut=job.cut)
    _check_validation(job)
    schedule = training_schedule(job, stepper)
    run = _RunState(
        job=job,
        masters=masters,
        optimizer=make_optimizer(masters, settings),
        loss_state=LossState(job.loss.needs, job.policy),
        logp_before=[None if store is None else _score_before(job, store) for store in (job.validation, job.selection)],
    )
    saved, damaged = run.resume()
    done = 0 if saved is None else saved.step
    log = _Log(job, callbacks, saved)
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
        limit.update(step + 1, run.take_step(stepper, schedule, step, log))
        step += 1
        if _is_due(job, step, schedule.num_steps, ends=limit.should_stop):
            validation = run.validate(chooses=True)
            # One process's numbers on all, so that every one of them stops early at the same step or not.
            numbers = job.ranks.from_main(partial(_numbers, job, step, validation))
            log.validation(step, numbers)
            if best.update(step, numbers):
                run.save(BEST, step, log, keep=None)
                run.keep_best(safe_best, step)
        last = step == schedule.num_steps or best.should_stop or limit.should_stop
        # Asked of all: a signal reaches the processes at different times, and they must stop after the same step.
        with run.kept(step, log):
            stopped = not last and job.ranks.any(job.stop())
        due = last or stopped or step % settings.checkpoint_every == 0
        if due:
            run.save(CHECKPOINTS, step, log, keep=settings.keep_checkpoints)
            safe_best = best.step
            run.keep_best(safe_best)
        if stopped:
            raise Interrupted(step, schedule.num_steps, job.run_dir)
    best_step, problems = run.keep_weights(best.step, last=step)
    # The last validation may be of other weights, or of the rows that chose.
    if best_step is not None or job.selection is not None:
        validation = None
    if validation is None and job.validation is not None:
        validation = run.validate(chooses=False)
    seconds = time.perf_counter() - began
    return TrainResult(schedule.num_steps, seconds, validation, (*damaged, *problems), best_step, limit.passed)


def _numbers(job: TrainJob, step: int, validation: Validation) -> Mapping[str, Any]:
    """Return the numbers of a validation, for its line in the metrics."""
    return {**validation.metrics(rounding=job.rounding), **job.measure(step, validation)}


def training_schedule(job: TrainJob, stepper: Stepper) -> Schedule:
    """Return all steps of the job."""
    settings = job.settings
    return make_schedule(
        stepper,
        batch_size=settled(settings.batch_size, "batch_size"),
        epochs=settled(settings.epochs, "epochs"),
        seed=settings.seed,
        prompts_together=settings.prompts_together,
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunState:
    """A run that is under way: what is trained, validated, saved and restored together."""

    job: TrainJob
    masters: Masters
    optimizer: torch.optim.Optimizer
    loss_state: LossState
    logp_before: Sequence[Floats | None]
    """log p of the sequences of `validation` and of `selection` before training, where the loss's reference is not that
    model."""

    def resume(self) -> tuple[checkpoint.Checkpoint | None, list[str]]:
        """Restore and return the newest intact checkpoint, if there is one, with sentences about what is damaged."""
        job = self.job
        saved, damaged = self._found(partial(checkpoint.newest, job.run_dir / CHECKPOINTS))
        if saved is None:
            return None, damaged
        if not job.allow_changes:
            refuse_changes(saved.identity, job.identity, was=f"{saved.path} was written by a run with")
        self.loss_state.restore(checkpoint.restore(saved, self.masters, self.optimizer))
        needs = job.loss.needs
        if needs.any_reference and not needs.reference_tokens and job.cache is not None and not len(job.cache):
            damaged.append(
                "the reference's log-probabilities that earlier steps kept are gone from the cache: they are computed "
                "anew, and may differ from those in their last digits, and with them the result"
            )
        return saved, damaged

    def _found(
        self, look: Callable[[], tuple[checkpoint.Checkpoint | None, list[str]]]
    ) -> tuple[checkpoint.Checkpoint | None, list[str]]:
        """Return the checkpoint that the main process finds, and what is damaged, on all processes."""

        def described() -> tuple[str | None, int, dict[str, str], list[str]]:
            saved, damaged = look()
            if saved is None:
                return None, 0, {}, damaged
            return str(saved.path), saved.step, dict(saved.identity), damaged

        path, step, identity, damaged = self.job.ranks.from_main(described)
        if path is None:
            return None, damaged
        if not Path(path).is_dir():
            raise RunError(
                f"process {self.job.ranks.index} cannot see {path}, which the main process goes on from: processes on "
                "several machines need the run's folder on a file system that all of them share"
            )
        return checkpoint.Checkpoint(Path(path), step, identity), damaged

    def take_step(self, stepper: Stepper, schedule: Schedule, step: int, log: "_Log") -> Mapping[str, Any]:
        """
        Train on the schedule's step of this index, and log it; return what was looked at after it.

        Raises:
            Interrupted: the step was given up.
            ProcessEnded: another process is gone.
        """
        job, began = self.job, time.perf_counter()
        try:
            with self.kept(step, log):
                table = self._add_gradient(stepper, schedule, step)
        except StepCut:
            raise Interrupted(step, schedule.num_steps, job.run_dir) from None
        rate = learning_rate(job.settings, step, schedule.num_steps)
        self.loss_state.before_update(step=step + 1)
        norm = update(self.masters, self.optimizer, rate, job.settings.max_grad_norm, step=step + 1)
        seconds = time.perf_counter() - began
        looked_at: Mapping[str, Any] = {}
        if job.drift is not None and is_looked_at(step + 1, schedule.num_steps):
            # One process's number on all, so that every one of them ends at the same step or not.
            looked_at = job.ranks.from_main(partial(_look, job.drift, token_budget(job)))
        per_epoch = schedule.steps_per_epoch
        log.step(table, looked_at, rate=rate, norm=norm, seconds=seconds, per_epoch=per_epoch)
        self.loss_state.update(table, step=step + 1)
        return looked_at

    def _add_gradient(self, stepper: Stepper, schedule: Schedule, step: int) -> Table:
        """Return a step's numbers, its gradient summed over the processes; weights and moments stay as they were."""
        job = self.job
        # Everything random of a step follows from its number: a resumed run is the same run.
        _seed_dropout(job.settings.seed, step, job.ranks)
        table = stepper.run(schedule.step(step), backward=True, running_reward=self.loss_state.running_reward)
        # Before the update: what is not finite must not reach the weights, of which the last good ones are kept.
        _check_finite(table, job.train)
        job.ranks.sum_each(self.masters.gradients())
        return table

    @contextmanager
    def kept(self, step: int, log: "_Log") -> Iterator[None]:
        """Save what so many steps left where what comes inside is given up; it changes nothing of that."""
        try:
            yield
        except (StepCut, ProcessEnded):
            job = self.job
            # By the main process alone, and not together: others may be gone.
            if job.ranks.is_main and step and not checkpoint.is_there(job.run_dir / CHECKPOINTS, step):
                self._write(CHECKPOINTS, step, log, keep=job.settings.keep_checkpoints)
            raise

    def keep_weights(self, best: int | None, *, last: int) -> tuple[int | None, list[str]]:
        """Restore the best step's weights; return the step (None: it is the last), and why they could not be."""
        if best is None or best == last:
            return None, []
        problems = self.restore_best(best)
        return None if problems else best, problems

    def restore_best(self, step: int) -> list[str]:
        """Restore the weights after the best step; return why not where they cannot be read."""
        saved, damaged = self._found(partial(checkpoint.of_step, self.job.run_dir / BEST, step))
        if saved is None:
            best = f"step {step}, where {self.job.settings.keep_best} was best"
            return [*damaged, f"the weights after {best}, are gone: the result is the model after the last step"]
        checkpoint.restore(saved, self.masters, self.optimizer)
        return []

    def keep_best(self, *steps: int | None) -> None:
        """Remove what is kept of the best steps but of these, from the main process."""
        if self.job.ranks.is_main:
            checkpoint.keep_steps(self.job.run_dir / BEST, {step for step in steps if step is not None})

    def validate(self, *, chooses: bool) -> Validation:
        """Score what is held out: the rows that choose the best step, where there are such, or those to report on."""
        job = self.job
        selects = chooses and job.selection is not None
        store = job.selection if selects else job.validation
        if store is None:
            raise ConfigError("there is nothing to validate on")
        return validate(
            make_stepper(job, store),
            batch_size=settled(job.settings.batch_size, "batch_size"),
            seed=job.settings.seed,
            logp_before=self.logp_before[selects],
            running_reward=self.loss_state.running_reward,
        )

    def save(self, folder: str, step: int, log: "_Log", *, keep: int | None) -> None:
        """Write a checkpoint, from the main process."""
        # All processes hold the same weights: one of them writes, and the others wait for it.
        if self.job.ranks.is_main:
            self._write(folder, step, log, keep=keep)
        self.job.ranks.barrier()

    def _write(self, folder: str, step: int, log: "_Log", *, keep: int | None) -> None:
        checkpoint.save(
            self.job.run_dir / folder,
            step=step,
            masters=self.masters,
            optimizer=self.optimizer,
            loss_state=self.loss_state.state(),
            identity=self.job.identity,
            metrics=log.text,
            keep=keep,
        )


def make_stepper(job: TrainJob, store: TokenStore, *, cut: Cut = never) -> Stepper:
    """Return the stepper of the job on this data: the trained or the held-out one; `cut` gives a step of it up."""
    budget, device, needs = token_budget(job), job.policy.device, job.loss.needs
    reference: ReferenceSource | None = None
    work = StepWork(job.progress)
    if needs.reference_tokens:
        reference = ReferenceTokens(job.policy.reference_logps, budget, device, work.scored, job.ranks, cut)
    elif needs.any_reference:
        reference = ReferenceTotals(job.policy.reference_logps, job.cache, budget, device, work.scored, job.ranks, cut)
    activations: Callable[[], AbstractContextManager[Any]] = nullcontext
    if job.settings.activation_offload:
        activations = partial(offloaded, list(job.policy.model.parameters()))
    settings = job.settings
    return Stepper(
        policy=job.policy,
        loss=job.loss,
        store=store,
        ranks=job.ranks,
        reference=reference,
        max_tokens=budget,
        max_examples=settings.microbatch_examples,
        activations=activations,
        # Dropout is for the rows' own pass alone; the others run layers again, or move what (x, y') would continue.
        reuse_prompt_cache=not (settings.dropout or settings.gradient_checkpointing or settings.activation_offload),
        on_layout=job.on_layout,
        work=work,
        cut=cut,
    )


def _score_before(job: TrainJob, store: TokenStore) -> Floats | None:
    """
    Score each held-out sequence with the model before training, (n,) in nats.

    Returns None where the loss's reference is that model, and gives these numbers itself, and for a loss that reads no
    log-probabilities. Any other loss has no reference, one that is synced with the policy, or one of other weights.
    """
    needs, has_separate_reference = job.loss.needs, job.policy.start_fingerprint is not None
    if not needs.logps:
        return None
    if needs.any_reference and needs.sync_every is None and not has_separate_reference:
        return None
    # In the layouts of the validation, whose numbers these are compared with.
    stepper, size = make_stepper(job, store), settled(job.settings.batch_size, "batch_size")
    schedule = make_schedule(stepper, batch_size=size, epochs=1, seed=job.settings.seed)
    steps = [schedule.step(i) for i in range(schedule.num_steps)]
    parts = [sequences_of(store, s.examples[p]) for s in steps for p in job.ranks.shard(stepper.micro_batches(s))]
    own = np.concatenate([np.empty(0, np.int64), *parts])
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    passes = [Pass(range(begin, end)) for begin, end in pairwise(ends)]
    logp = np.zeros(len(store))
    with job.policy.scoring():
        # The cache holds what the reference says.
        cache = None if has_separate_reference else job.cache
        job.progress.stage("log-probabilities before training", len(own))
        source = ReferenceTotals(
            job.policy.token_logps, cache, token_budget(job), job.policy.device, job.progress.advance, job.ranks
        )
        logp[own] = source.score(store, np.stack([own, own], axis=1), passes).totals
    return job.ranks.sum(torch.from_numpy(logp)).numpy()


def token_budget(job: TrainJob) -> int:
    """Return the maximum tokens per micro-batch; a longer example gets one of its own."""
    return job.settings.microbatch_tokens or MAX_TOKENS.get(job.policy.device.type, MAX_TOKENS["cpu"])


def _look(drift: Callable[[int], float], budget: int) -> Mapping[str, float]:
    """Return the divergence from the model before training, for a step's line in the metrics."""
    return {KL: drift(budget)}


def _seed_dropout(seed: int, step: int, ranks: Ranks) -> None:
    """Seed torch with what is particular to a step and process, so that there is no random state to save."""
    # Hashed together, so that neighbouring steps and ranks do not share their numbers. torch takes 63 bits.
    entropy = np.random.SeedSequence([seed, step, ranks.index]).generate_state(1, np.uint64)
    torch.manual_seed(int(entropy[0] >> 1))


def _check_finite(table: Table, store: TokenStore) -> None:
    """Raise RunError at the first number that is not finite, naming the rows it comes from."""
    parts = [part for part in (table.logp, table.log_ratio, table.reward) if part is not None]
    own = np.sum(parts, axis=0)
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
            f"{', '.join(store.name(i) for i in faults[:8])}. {_what_is_left(table.step.index + 1)}. Look at these rows"
        )


def _what_is_left(step: int) -> str:
    """Say what is known of the weights where a step, counted from 1, came to no number."""
    if step == 1:
        return "It is the first step: nothing was trained, and train.lr is not at fault"
    return (
        "The weights were not changed by it, and those of the last checkpoint are finite. That does not make them "
        "good: where the loss or the rewards had been running away, start anew with a lower train.lr"
    )


def update(
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    rate: float,
    max_norm: float,
    *,
    step: int,
) -> float:
    """Clip the gradients, summed over all processes, and take an optimizer step; return their norm before clipping."""
    masters.gradients()  # zeros where none arrived, so that moments do not depend on what came in a step
    # The norm of the whole step's gradient: clipped a process or a micro-batch at a time it would be another step.
    norm = float(torch.nn.utils.clip_grad_norm_(list(masters.weights.values()), max_norm))
    if not np.isfinite(norm):
        raise RunError(
            f"step {step}: the gradient is not finite (norm {norm}) though every loss is. {_what_is_left(step)}, or "
            "compute in float32 (model.dtype)"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    masters.publish()
    masters.zero_grad()
    return norm


def _out_of_memory(error: Exception, settings: TrainSettings, budget: int) -> RunError | None:
    if not (isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)):
        return None
    more = "" if settings.gradient_checkpointing else " or set train.gradient_checkpointing=true"
    return RunError(
        f"out of memory with {budget} tokens in a micro-batch: set train.microbatch_tokens={budget // 2}{more}, "
        "and resume; the result does not depend on either"
    )


class _Log:
    """Metrics to the file and the callbacks, from the main process only."""

    def __init__(self, job: TrainJob, callbacks: Sequence[Callback], saved: checkpoint.Checkpoint | None) -> None:
        self._job, self._callbacks = job, callbacks
        self._file: MetricsLog | None = None
        if job.ranks.is_main:
            done, kept = (0, None) if saved is None else (saved.step, saved.metrics)
            self._file = MetricsLog(job.run_dir / METRICS, from_step=done, saved=kept)

    @property
    def text(self) -> bytes:
        """Return the whole log, in the main process."""
        return b"" if self._file is None else self._file.text

    def mended(self) -> list[str]:
        """Return a sentence where lines were lost or changed, and are there again."""
        if self._file is None or not self._file.is_mended:
            return []
        return [f"{self._job.run_dir / METRICS} was damaged; it was restored from the newest checkpoint"]

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that were written so far, on all processes."""
        return self._job.ranks.broadcast(read_metrics(self._job.run_dir / METRICS) if self._job.ranks.is_main else [])

    def step(
        self, table: Table, looked_at: Mapping[str, Any], *, rate: float, norm: float, seconds: float, per_epoch: int
    ) -> None:
        store = self._job.train
        tokens = sum(store.length(int(i)) for i in table.sequences)
        self._write(
            {
                "step": table.step.index + 1,
                "split": "train",
                **step_metrics(table, store, rounding=self._job.rounding),
                **looked_at,
                "learning_rate": rate,
                "grad_norm": norm,
                "epoch": (table.step.index + 1) / per_epoch,
                "tokens_per_second": tokens / seconds,
                "memory_gib": _memory_gib(self._job.policy.device),
            }
        )

    def validation(self, step: int, numbers: Mapping[str, Any]) -> None:
        self._write({"step": step, "split": "validation", **numbers})

    def _write(self, numbers: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(numbers)
            for callback in self._callbacks:
                callback.on_metrics(numbers)


def _memory_gib(device: torch.device) -> float:
    """Return the peak memory on a GPU; on a CPU this process's resident memory now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return float(psutil.Process().memory_info().rss) / GIB
