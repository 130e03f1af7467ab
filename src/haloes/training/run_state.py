"""A run that is under way: what is trained, validated, saved and restored together."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from haloes.batches.collate import sequences_of
from haloes.batches.schedule import Schedule
from haloes.errors import ConfigError, Interrupted, ProcessEnded, RunError
from haloes.run_files import BEST, CHECKPOINTS
from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenStore
from haloes.training import checkpoint
from haloes.training.completion_logps import Pass, ReferenceTotals
from haloes.training.cut import StepCut
from haloes.training.distributed import Ranks
from haloes.training.equal_passes import fillers_for
from haloes.training.follow import from_main
from haloes.training.identity import refuse_changes
from haloes.training.job import TrainJob, make_stepper, token_budget
from haloes.training.kl_limit import KL, is_looked_at
from haloes.training.loss_state import LossState
from haloes.training.optimizer import Masters
from haloes.training.run_log import RunLog
from haloes.training.save_checkpoint import Snapshot, save, snapshot
from haloes.training.settings import learning_rate, settled
from haloes.training.step import Stepper
from haloes.training.step_table import Table
from haloes.training.take_back import SHARES, Change
from haloes.training.update import check_finite, seed_dropout, update
from haloes.training.validation import Validation, make_schedule, validate
from haloes.training.write_behind import CheckpointWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run that is under way: what is trained, validated, saved and restored together."""

    job: TrainJob
    masters: Masters
    optimizer: torch.optim.Optimizer
    loss_state: LossState
    logp_before: Sequence[Floats | None]
    """log p of the sequences of `validation` and of `selection` before training, where the loss's reference is not that
    model."""
    change: Change | None
    """What training does to the weights, where a part of it may be taken back at the end."""
    writer: CheckpointWriter

    def resume(self) -> tuple[checkpoint.Checkpoint | None, list[str]]:
        """Restore and return the newest intact checkpoint, if there is one, with sentences about what is damaged."""
        job = self.job
        saved, damaged = self._found(partial(checkpoint.newest, job.run_dir / CHECKPOINTS))
        if saved is None:
            return None, damaged
        if not job.allow_changes:
            refuse_changes(saved.identity, job.identity, was=f"{saved.path} was written by a run with")
        self.loss_state.restore(checkpoint.restore(saved, self.masters, self.optimizer, self.loss_state.state()))
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

    def take_step(self, stepper: Stepper, schedule: Schedule, step: int, log: RunLog) -> Mapping[str, Any]:
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
            looked_at = from_main(job.policy, job.ranks, partial(_look, job.drift, token_budget(job)))
        per_epoch = schedule.steps_per_epoch
        log.step(table, looked_at, rate=rate, norm=norm, seconds=seconds, per_epoch=per_epoch)
        self.loss_state.update(table, step=step + 1)
        return looked_at

    def _add_gradient(self, stepper: Stepper, schedule: Schedule, step: int) -> Table:
        """Return a step's numbers, its gradient summed over the processes; weights and moments stay as they were."""
        job = self.job
        # Everything random of a step follows from its number: a resumed run is the same run.
        seed_dropout(job.settings.seed, step, job.ranks)
        table = stepper.run(schedule.step(step), backward=True, running_reward=self.loss_state.running_reward)
        # Before the update: what is not finite must not reach the weights, of which the last good ones are kept.
        check_finite(table, job.train)
        job.ranks.sum_each(self.masters.own_gradients())
        return table

    @contextmanager
    def kept(self, step: int, log: RunLog) -> Iterator[None]:
        """Save what so many steps left where what comes inside is given up; it changes nothing of that."""
        try:
            yield
        except (StepCut, ProcessEnded) as why:
            job, shards = self.job, self.masters.are_shards
            # By the main process alone, and not together: others may be gone. With them is gone their part of what was
            # shards; a step is given up by all of them, which are there to write.
            writes = isinstance(why, StepCut) if shards else job.ranks.is_main
            if writes and step:
                self.writer.finish()
                if not checkpoint.is_there(job.run_dir / CHECKPOINTS, step):
                    save(job.run_dir / CHECKPOINTS, self._taken(step, log), keep=job.settings.keep_checkpoints)
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

    def take_back(self) -> float:
        """Take back as little of the change as the policy does not fall apart with; return the share that it keeps."""
        if self.change is None or not self._falls_apart():
            return 1.0
        for share in SHARES:
            self.job.progress.note(f"trying {share:.0%} of the change")
            self.change.keep(share)
            if not self._falls_apart():
                return share
        # No part of it helps, so that it is not its size that is at fault.
        self.change.keep(1.0)
        return 1.0

    def _falls_apart(self) -> bool:
        # One process's answer on all, so that every one of them keeps the same weights.
        asked = self.job.falls_apart
        return asked is not None and from_main(self.job.policy, self.job.ranks, asked)

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

    def save(self, folder: str, step: int, log: RunLog, *, bests: Collection[int | None]) -> None:
        """
        Write a checkpoint, from all processes together; `writer` knows when it is complete.

        Args:
            folder: the best ones', which all stay, or the newest ones'.
            step: steps that are done.
            log: the run's numbers up to here.
            bests: the best steps that stay once it is complete.
        """
        job = self.job
        keep = job.settings.keep_checkpoints if folder == CHECKPOINTS else None
        steps = {step for step in bests if step is not None}
        self.writer.save(
            job.run_dir / folder,
            self._taken(step, log),
            keep=keep,
            then=partial(checkpoint.keep_steps, job.run_dir / BEST, steps),
        )

    def _taken(self, step: int, log: RunLog) -> Snapshot:
        return snapshot(
            step=step,
            masters=self.masters,
            optimizer=self.optimizer,
            loss_state=self.loss_state.state(),
            identity=self.job.identity,
            metrics=log.text,
            ranks=self.job.ranks if self.masters.are_shards else Ranks(0, 1),
        )


def make_writer(job: TrainJob, masters: Masters) -> CheckpointWriter:
    """Return what writes a job's checkpoints: where all processes hold the same weights one of them does."""
    writers = job.ranks if masters.are_shards else Ranks(0, 1) if job.ranks.is_main else None
    return CheckpointWriter(job.ranks, writers, behind=job.settings.save_while_training)


def score_before(job: TrainJob, store: TokenStore) -> Floats | None:
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
            job.policy.token_logps,
            cache,
            token_budget(job),
            job.policy.device,
            job.progress.advance,
            job.ranks,
            fillers=fillers_for(job.policy, job.ranks),
        )
        logp[own] = source.score(store, np.stack([own, own], axis=1), passes).totals
    return job.ranks.sum(torch.from_numpy(logp)).numpy()


def _look(drift: Callable[[int], float], budget: int) -> Mapping[str, float]:
    """Return the divergence from the model before training, for a step's line in the metrics."""
    return {KL: drift(budget)}
