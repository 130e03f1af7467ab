"""Try a run out: load its model, begin a batch of answers, train on a few micro-batches, and measure all of it."""

import time
from dataclasses import dataclass, replace
from typing import Protocol

from haloes.batches.schedule import Schedule, Step
from haloes.planning.cost_model import Layout, ModelSize, Rates, StepLoad, Workload, activations, memory
from haloes.planning.probe import Candidates, MicroBatchCost, SamplingCost, candidates, probing, time_sampling
from haloes.planning.workload import answers_at_once, count_work, known_share, seconds_a_byte
from haloes.progress.contract import Progress
from haloes.runs.drift import look_tokens
from haloes.runs.prepared_run import PreparedData, PreparedRun
from haloes.runs.setup import prepare_run
from haloes.training.choose_rate import ChosenRate
from haloes.training.choose_steps import ChosenSteps
from haloes.training.job import make_stepper, training_schedule
from haloes.training.rounding import Rounding
from haloes.training.settings import settled

_QUICK = 4.0
"""Seconds below which the typical micro-batch is tried twice, for the quieter of two times."""
_SLACK = 1.0
"""Bytes of gaps and buffers for each byte of activations, as long as only a single example was tried."""
_MOST_TRIED = 6
"""Micro-batches that a trial works on at most."""
_ROOM = 1.1
"""A micro-batch is tried where this many times what it should take is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMeasurements:
    """The measurements of a run that was tried out."""

    load: StepLoad
    """The load of the run's largest micro-batch, with what the trial found out."""
    budget: int
    """Tokens of a micro-batch, as they are in force."""
    typical: MicroBatchCost
    complete: bool
    """Whether the largest micro-batch was tried; where it does not fit, its memory follows from a shorter one's."""
    rates: Rates
    work: Workload
    steps: ChosenSteps
    lr: float
    """The run's learning rate."""
    rate: ChosenRate | None
    """The same with the reason for it, where the settings left it open."""
    rounding: Rounding | None
    """By how much rounding moves the run's numbers, where that shows."""


def try_out(
    data: PreparedData, sizes: ModelSize, load: StepLoad, *, reading: float, limit: int, progress: Progress
) -> TrialMeasurements:
    """
    Work on a few micro-batches of a run as it would, and forget them.

    Args:
        data: the run, whose folder takes what is written meanwhile; the caller removes it.
        sizes: sizes of the model.
        load: what is known of its memory without trying.
        reading: seconds that the data took.
        limit: bytes that the run may take; what would take more is not tried.
        progress: told how far the work is.
    """
    began = time.perf_counter()
    prepared = prepare_run(data, progress=progress, limit=limit)
    loading = time.perf_counter() - began
    progress.stage("trying a few steps", _MOST_TRIED)
    config, inputs, policy = prepared.config, prepared.inputs, prepared.policy
    # Nothing of a trial may be left in the reference cache, and nothing in it may shorten the trial.
    job = prepared.job(cache=None, measure=lambda _step, _validation: {}, stop=lambda: False, progress=progress)
    stepper = make_stepper(job, inputs.train)
    schedule = training_schedule(job, stepper)
    prompts = sorted((inputs.encoder.prompt_ids(p) for p in inputs.prompts.values()), key=len, reverse=True)
    at_once = answers_at_once(config.samples, prompts)
    # The longest prompts: the batch that holds the most keys and values, as the run samples it.
    answered = time_sampling(policy, prompts[:at_once]) if at_once else None
    if answered is not None:
        load = _with_answers(load, sizes, answered, len(prompts[0]) + config.samples.max_new_tokens)
    tried = candidates(stepper, schedule)
    with probing(job, several=tried.several) as probe:
        load, passed, update, complete = measure(probe, tried, sizes, load, limit)
    rates = _rates(
        passed, answered, reading=reading, loading=loading, update=update, saving=seconds_a_byte(prepared.run_dir)
    )
    work = _count_work(
        prepared,
        schedule,
        sizes,
        itemsize=load.itemsize,
        num_prompts=len(prompts),
        at_once=at_once,
        look_tokens=0 if job.drift is None else look_tokens(inputs.validation or inputs.train),
    )
    return TrialMeasurements(
        load=load,
        budget=stepper.max_tokens,
        typical=passed,
        complete=complete,
        rates=rates,
        work=work,
        steps=prepared.steps,
        lr=settled(config.train.lr, "lr"),
        rate=prepared.rate,
        rounding=prepared.rounding,
    )


def _rates(
    passed: MicroBatchCost,
    answered: SamplingCost | None,
    *,
    reading: float,
    loading: float,
    update: float,
    saving: float,
) -> Rates:
    """Return the seconds of each kind of work: those of tokens from what was tried, the rest as they were measured."""
    training = passed.seconds / passed.tokens
    # Without a reference to time: a backward pass takes two forward ones, and scoring is one of the three.
    scoring = passed.reference_seconds / passed.reference_tokens if passed.reference_tokens else training / 3
    return Rates(
        reading=reading,
        loading=loading,
        training_token=training,
        scoring_token=scoring,
        update=update,
        prefill=0.0 if answered is None else answered.prefill,
        answer_token=0.0 if answered is None else answered.token,
        saved_byte=saving,
    )


def _count_work(
    prepared: PreparedRun,
    schedule: Schedule,
    sizes: ModelSize,
    *,
    itemsize: int,
    num_prompts: int,
    at_once: int,
    look_tokens: int,
) -> Workload:
    """Count all that the run will do; `at_once` answers to its `num_prompts` held-out prompts are sampled together."""
    config, inputs, needs = prepared.config, prepared.inputs, prepared.loss.needs
    known = 0.0
    if config.train.reference_cache:
        known = known_share(needs, prepared.policy.reference_fingerprint, schedule, inputs.train)
    return count_work(
        config.train,
        config.samples,
        needs,
        sizes,
        train=inputs.train,
        validation=inputs.validation,
        schedule=schedule,
        itemsize=itemsize,
        num_prompts=num_prompts,
        num_monitored=config.watch.prompts,
        at_once=at_once,
        known=known,
        look_tokens=look_tokens,
    )


class Steps(Protocol):
    """Works on micro-batches and measures that: a `Probe`."""

    def run(self, step: Step, *, count: bool = False) -> MicroBatchCost:
        """Work on a micro-batch; where asked, count what waits for its backward pass."""
        ...

    def layout(self, step: Step) -> Layout:
        """Lay out a micro-batch as it would go through the model."""
        ...

    def update(self) -> float:
        """Take an optimizer step and return its seconds."""
        ...


def measure(
    probe: Steps, tried: Candidates, sizes: ModelSize, load: StepLoad, limit: int
) -> tuple[StepLoad, MicroBatchCost, float, bool]:
    """
    Run a single example, then the largest micro-batch if it fits, then the typical one, which is timed.

    Returns:
        The load with what was found, the typical micro-batch (or the example, where nothing more fits), seconds of an
        optimizer step, and whether the largest micro-batch was tried.
    """
    # The shortest example first: it surely fits, and what it leaves says whether more does.
    first = probe.run(tried.shortest, count=True)
    # From now on the optimizer's moments are in memory, as in any later step.
    update = probe.update()
    load = replace(load, several=tried.several, kept=first.kept / first.layout.tokens)
    # Once more without counting, whose hooks hold memory of their own.
    load = replace(load, other=_beyond(load, sizes, probe.run(tried.shortest)), slack=_SLACK)
    complete = _fits(_of(load, tried.largest, probe), sizes, limit)
    if not complete and not _fits(_of(load, tried.typical, probe), sizes, limit):
        return _of(load, tried.largest, probe), first, update, False
    if not tried.several:
        probe.update()  # else the example's gradients are there, as a micro-batch finds those of the one before it
    first_time = probe.run(tried.largest if complete else tried.typical)
    # Recomputed or offloaded activations are not there to be counted: the sum follows from the layers instead.
    passed = probe.run(tried.typical, count=not (load.checkpointing or load.offload))
    if passed.kept:
        load = replace(load, kept=passed.kept / passed.layout.tokens)
    if passed.seconds + passed.reference_seconds < _QUICK:
        passed = min(passed, probe.run(tried.typical), key=lambda cost: cost.seconds)
    # Once more, after one of another size: the gaps that an allocator leaves grow during a run.
    again = probe.run(tried.largest if complete else tried.typical)
    beyond = max(_beyond(load, sizes, cost) for cost in (first_time, again))
    # What the short example took beyond the sums is there at any size; the rest grows with the activations.
    fixed = min(load.other, beyond)
    of_largest = activations(sizes, _laid_out(load, again.layout))
    load = replace(load, other=fixed, slack=(beyond - fixed) / max(of_largest, 1))
    return _of(load, tried.largest, probe), passed, probe.update(), complete


def _fits(load: StepLoad, sizes: ModelSize, limit: int) -> bool:
    return memory(sizes, load).training * _ROOM <= limit


def _of(load: StepLoad, step: Step, probe: Steps) -> StepLoad:
    return _laid_out(load, probe.layout(step))


def _laid_out(load: StepLoad, layout: Layout) -> StepLoad:
    return replace(load, tokens=layout.tokens, positions=layout.positions)


def _beyond(load: StepLoad, sizes: ModelSize, passed: MicroBatchCost) -> int:
    """Return the bytes that a micro-batch took beyond all that is counted."""
    counted = _laid_out(replace(load, other=0, slack=0.0), passed.layout)
    return max(0, passed.peak - memory(sizes, counted).training)


def _with_answers(load: StepLoad, sizes: ModelSize, answered: SamplingCost, widest: int) -> StepLoad:
    """Add a batch of answers at its full width, and what a begun one took beyond all that is counted."""
    load = replace(load, answers=answered.answers, answer_tokens=answered.tokens)
    other = answered.peak - memory(sizes, replace(load, sampled_while_training=False)).sampling
    return replace(load, answer_tokens=widest, other_sampling=max(0, other))
