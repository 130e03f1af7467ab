"""The main job: from feedback to an aligned model, measured before and after on what was held out."""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.judging._contract import Judge
from haloes.losses._contract import Loss
from haloes.progress.contract import NullProgress, Progress
from haloes.records import Completion
from haloes.report.load import load_run
from haloes.results import Score
from haloes.run_files import CONFIG, SAMPLES
from haloes.runs import manifest, run_folder
from haloes.runs.callbacks import tensorboard_if_installed
from haloes.runs.claim import before_claim, claimed
from haloes.runs.config import RunConfig
from haloes.runs.go_on import lineage
from haloes.runs.live_judge import configured_judge
from haloes.runs.load_policy import reference_cache
from haloes.runs.long_runs import LongRunNote
from haloes.runs.measure import Rater, load_rater, rate
from haloes.runs.measure_and_save import (
    RunContext,
    answer_held_out,
    forget_answers_after,
    measure_trained,
    save_trained,
)
from haloes.runs.monitor import Monitor, make_live_judge
from haloes.runs.new_repeats import NewRepeats
from haloes.runs.outcome import about_outcome
from haloes.runs.own_rows import keep_rows, with_own_rows
from haloes.runs.parts import PartClock
from haloes.runs.prepared_run import PreparedRun, ResolvedRun
from haloes.runs.process import computing_with, stop_on_interrupt
from haloes.runs.rehearse import rehearse, saves_weights
from haloes.runs.setup import prepare_data, prepare_run, resolve_run
from haloes.runs.sharding import whole
from haloes.runs.shared_start import in_one_folder
from haloes.runs.start_line import StartLine
from haloes.runs.trusted_code import remember
from haloes.runs.user_code import keep_code
from haloes.training.follow import on_main
from haloes.training.job import Callback, TrainResult
from haloes.training.settings import budget_of
from haloes.training.trainer import train


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    run_dir: Path
    """Its folder: the model, the report, and every number."""
    scores: tuple[Score, ...]
    """Measurements on held-out prompts, before and after; empty on all processes but the main one."""
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
    rater: Rater | None = None,
    allow_changes: bool = False,
    progress: Progress | None = None,
) -> Run:
    """
    Carry a run out, or resume it from its newest checkpoint.

    Args:
        config: all settings.
        run_dir: the run's folder; a new one, unless the run is resumed.
        loss: a loss to use in place of the configuration's.
        resume: resume the run that the folder holds.
        rater: a function in place of the one that the configuration names.
        allow_changes: resume even if the data, the tokenizer, the model or the settings are not what they were.
        progress: told how far the work is.

    Raises:
        UserError: something that the user can put right; nothing is left half-written.
        Interrupted: the user stopped the run, which was saved and can be resumed.
    """
    clock = PartClock()
    with before_claim(run_dir, resume=resume):
        run = resolve_run(config, run_dir, loss=loss, resume=resume, rater=rater, allow_changes=allow_changes)
    # Rows that were in memory lie in temporary files, and the run resumes from its own copies of them.
    run = dataclasses.replace(run, config=with_own_rows(run.config, run.run_dir))
    ranks, settings = run.ranks, run.config
    progress = progress if progress is not None and ranks.is_main else NullProgress()
    with before_claim(run_dir, resume=resume):
        finished = ranks.from_main(lambda: _finished_steps(settings, run.run_dir) if run.same_run else None)
    if finished is not None:
        known = load_run(run.run_dir).scores if ranks.is_main else ()
        return Run(run.run_dir, known, finished, ranks.is_main, was_finished=True)
    # Before anything is read or written: a misspelt name costs a second and leaves no folder behind.
    if rater is None and settings.samples.rater:
        rater = load_rater(settings.samples.rater)
    judge = configured_judge(settings.watch, num_prompts=settings.samples.prompts, keep_best=settings.train.keep_best)
    claim = claimed(run.run_dir, ranks, clock, resume=resume, progress=progress)
    with claim, computing_with(settings.train.threads), ExitStack() as stack:
        if ranks.is_main:
            keep_rows(config, run.run_dir, replace=not run.same_run)
            _check_config(run.run_dir, progress)
        stack.enter_context(in_one_folder(run.run_dir, ranks, progress))
        data = prepare_data(run, progress=progress)
        if data.could_show is not None:
            progress.note(data.could_show)
        prepared = prepare_run(data, progress=progress)
        changed = _begin(run, prepared, clock, progress) if ranks.is_main else []
        _rehearse(prepared)
        context = RunContext(run.run_dir, prepared.policy, prepared.inputs, settings.samples, progress)
        before = _answers_before(context, prepared, rater)
        monitor = _make_monitor(context, prepared, before, rater, judge)
        repeats = _watch_repeats(context, prepared, before)
        outcome = _train(prepared, progress, monitor, repeats, allow_changes=allow_changes)
        # First of all: whatever fails from here on, what was trained is there.
        _save(context, prepared)

        def measured() -> tuple[Score, ...]:
            told = [*about_outcome(outcome, prepared), *([] if repeats is None else repeats.told(outcome.kept_share))]
            alarms = [*monitor.alarms(), *monitor.never_measured(), *told]
            warnings = [*prepared.warnings, *changed, *outcome.damaged, *alarms]
            return measure_trained(context, outcome, rater, warnings, kl_budget=budget_of(settings.train))

        scores = on_main(prepared.policy, ranks, measured) or ()
        if ranks.is_main:
            run_folder.mark_finished(run.run_dir, prepared.identity, clock, steps=outcome.num_steps)
        # Nobody leaves before the files are there: a caller may read them on every process.
        ranks.barrier()
    return Run(run.run_dir, scores, outcome.num_steps, ranks.is_main)


def _finished_steps(config: RunConfig, run_dir: Path) -> int | None:
    """Return the steps of a run that is finished and was started with this very configuration; else None."""
    steps = run_folder.finished_steps(run_dir)
    return None if steps is None or run_folder.read_config(run_dir) != config else steps


def _begin(run: ResolvedRun, prepared: PreparedRun, clock: PartClock, progress: Progress) -> list[str]:
    """Write what the run starts on and tell of it, in the main process; return what has changed since it was begun."""
    changed = run_folder.changes(run.run_dir, prepared.identity)
    _write_start(prepared, clock)
    _keep_code(run, progress)
    # Before it trains on them: what is wrong with the feedback can be put right now.
    for text in (*prepared.warnings, *changed):
        progress.note(f"warning: {text}")
    if not run.same_run:
        # Answers before training that are there are those of another model or to other prompts.
        (run.run_dir / SAMPLES).unlink(missing_ok=True)
    if run.config.model.init is not None:
        progress.note(f"training goes on from {run.config.model.init}, which is the reference")
    if run.shares_weights:
        progress.note(_about_shards(prepared, over=run.processes_a_copy))
    return changed


def _about_shards(prepared: PreparedRun, *, over: int) -> str:
    """Tell that the processes share the weights, and what answers cost then."""
    text = f"each of {prepared.ranks.count} processes holds a part of every weight (train.shard)"
    if over < prepared.ranks.count:
        text += f", and each {over} of them one copy together (train.shard_over)"
    if not prepared.inputs.prompts:
        return text
    return (
        f"{text}; the held-out prompts are answered by all of them together, and every token gathers all weights: "
        "samples.prompts=0 leaves that out, and haloes sample answers with the saved model afterwards"
    )


def _rehearse(prepared: PreparedRun) -> None:
    """Try the end of the run out, in the main process; where weights are shards, with the others' parts."""
    policy, ranks = prepared.policy, prepared.ranks
    trial = whole(policy, ranks) if saves_weights(policy) and policy.reward_head is None else None
    template = prepared.inputs.encoder.template
    on_main(policy, ranks, lambda: rehearse(policy, template, prepared.run_dir, whole=trial))


def _save(context: RunContext, prepared: PreparedRun) -> None:
    """Save the trained model, from the main process; where weights are shards, with the others' parts."""
    trained = whole(prepared.policy, prepared.ranks)
    if prepared.ranks.is_main and trained is not None:
        save_trained(context, trained)


def _check_config(run_dir: Path, progress: Progress) -> None:
    """Say where a resumed run's configuration is not what the run wrote; what decides the result is compared apart."""
    if manifest.is_recorded(run_dir, CONFIG) and manifest.changed(run_dir, CONFIG):
        progress.note(f"caution: {run_dir / CONFIG} is not what the run wrote: it was changed by hand, or is damaged")


def _write_start(prepared: PreparedRun, clock: PartClock) -> None:
    """Write the resolved configuration, and what the run starts on."""
    run_folder.write_config(prepared.run_dir, prepared.config)
    manifest.record(prepared.run_dir, [CONFIG])
    init = prepared.config.model.init
    run_folder.mark_started(
        prepared.run_dir,
        prepared.identity,
        clock,
        device=str(prepared.device),
        processes=prepared.ranks.count,
        attention=prepared.policy.scorer.attention,
        rounding=None if prepared.rounding is None else dataclasses.asdict(prepared.rounding),
        goes_on_from=None if init is None else lineage(init),
    )


def _keep_code(run: ResolvedRun, progress: Progress) -> None:
    """Keep the user's own code with the run, and that it is theirs; tell what of earlier copies is damaged."""
    if unwritten := remember(run.config):
        progress.note(f"caution: {unwritten}")
    if damaged := keep_code(run.run_dir, run.code):
        progress.note(f"caution: not what the run wrote: {', '.join(damaged)} in {run.run_dir}")


def _answers_before(context: RunContext, prepared: PreparedRun, rater: Rater | None) -> list[Completion]:
    """Sample the baseline answers in the main process, and try out the rater, so that a broken one fails before."""

    def answered() -> list[Completion]:
        before = answer_held_out(context, "before")
        forget_answers_after(context)
        if rater is not None:
            rate(rater, before[:1])
        return before

    before = on_main(prepared.policy, prepared.ranks, answered) or []
    # It measures in the main process alone: the others wait until it has answered, and have no baseline.
    prepared.ranks.barrier()
    return before


def _make_monitor(
    context: RunContext, prepared: PreparedRun, before: Sequence[Completion], rater: Rater | None, judge: Judge | None
) -> Monitor:
    """Return what measures at validations; the judge is tried out, so that a broken one fails before training."""
    live_judge = None
    watch, train, ranks = prepared.config.watch, prepared.config.train, prepared.ranks
    if ranks.is_main and judge is not None:
        live_judge = make_live_judge(context, watch, judge, before, same_run=prepared.same_run)
    ranks.barrier()
    return Monitor(context, watch, train, before, rater=rater, judge=live_judge)


def _watch_repeats(context: RunContext, prepared: PreparedRun, before: Sequence[Completion]) -> NewRepeats | None:
    """Return what asks after training whether answers go in circles; None where nothing could be taken back."""
    budget = prepared.config.train.repeats_budget
    if budget is None or not prepared.inputs.prompts:
        return None
    return NewRepeats(context, before, budget)


def _train(
    prepared: PreparedRun, progress: Progress, monitor: Monitor, repeats: NewRepeats | None, *, allow_changes: bool
) -> TrainResult:
    """Train, and tell the progress display, the monitor and TensorBoard of each step, from the main process."""
    with stop_on_interrupt() as stop:
        job = prepared.job(
            cache=reference_cache(prepared.config.train, prepared.policy, prepared.ranks),
            measure=monitor.measure,
            falls_apart=repeats,
            stop=stop,
            cut=stop.is_time_short,
            progress=progress,
            allow_changes=allow_changes,
        )
        start = StartLine(prepared, progress)
        hours = LongRunNote(prepared.steps.epochs, progress.note)
        callbacks: list[Callback] = [progress, start, hours, monitor, *tensorboard_if_installed(prepared.run_dir)]
        return train(job, callbacks if prepared.ranks.is_main else [])
