"""A learning rate by measurement: each of several is tried with a few steps that go as far as the whole run would."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log, sqrt

import numpy as np
import torch

from haloes.batches.schedule import Step
from haloes.errors import ConfigError, RunError
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import NullProgress, Progress
from haloes.runs.answer_kl import row_kl
from haloes.runs.drift import spread_over
from haloes.runs.prepared_run import PreparedData, PreparedRun
from haloes.runs.setup import prepare_run
from haloes.stats.means import mean_with_interval
from haloes.tokens.store import TokenRow
from haloes.training import checkpoint
from haloes.training.job import TrainJob, make_stepper, token_budget, training_schedule
from haloes.training.optimizer import Masters, make_optimizer
from haloes.training.save_checkpoint import save, snapshot
from haloes.training.settings import TrainSettings, budget_of, learning_rate, settled
from haloes.training.trainer import trainable
from haloes.training.update import update

_STEPS, _EXAMPLES = 8, 8
"""Steps of a trial, and examples in each at most."""
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Rates that are tried, as parts of the run's own."""
_FARTHEST = 64.0
"""Steps at the peak that a trial stands for, at most: later ones go less and less in one direction."""
_ANSWERS = 32
"""Answers along which the divergence is measured."""


@dataclass(frozen=True, slots=True)
class RateTrial:
    """A learning rate and what it does."""

    lr: float
    kl: float | None
    """KL to the model before training, nats an answer; None where the trial came to no number."""
    interval: tuple[float, float] | None = None
    """Its 95% interval over the prompts of the answers; None without `kl`, or where they have one prompt."""

    def passes(self, kl_budget: float) -> bool:
        """Return whether it goes further than the budget allows."""
        return self.kl is None or self.kl > kl_budget


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSearch:
    """Learning rates that were tried, and the one that keeps to the budget."""

    kl_budget: float
    """`train.kl_budget`, nats an answer."""
    tried: tuple[RateTrial, ...]
    lr: float
    """The rate that is proposed."""
    why: str


def find_rate(data: PreparedData, *, limit: int, progress: Progress) -> RateSearch:
    """
    Try a run's learning rate and multiples of it, and propose the one that moves the answers as far as is allowed.

    How far the weights move is about the sum of the rates of all steps, so 8 steps with larger rates that have the same
    sum stand for the whole run (for its first 64 steps at the peak, where it has more). After them KL(policy ||
    reference) is summed over the tokens of held-out answers, whole distributions at each token: the same answers for
    every rate, so that no chance is in the comparison, and nothing is sampled. The weights are restored in between.

    Args:
        data: the run, whose folder takes what is written meanwhile.
        limit: bytes that the run may take.
        progress: told how far the trials are.

    Raises:
        ConfigError: the run trains a reward model, or has another model as its reference.
    """
    _require_start_as_reference(data)
    prepared = prepare_run(data, progress=progress, limit=limit, keep_start=True)
    settings = prepared.config.train
    peak, kl_budget = settled(settings.lr, "lr"), budget_of(settings)
    trials = _Trials.of(prepared)
    progress.stage("trying learning rates", len(_FACTORS) * _STEPS)
    tried: list[RateTrial] = []
    with trainable(trials.job) as masters:
        start = _saved(prepared, masters)
        for lr in (float(f"{factor * peak:.2g}") for factor in _FACTORS):
            optimizer = make_optimizer(masters, settings)
            checkpoint.restore(start, masters, optimizer)
            tried.append(trials.after(lr, masters, optimizer, progress))
            progress.note(f"train.lr={lr:g}: KL in nats an answer {describe_kl(tried[-1])}")
            # Higher ones go further still.
            if tried[-1].passes(kl_budget):
                break
    lr, why = propose_rate(tried, kl_budget)
    return RateSearch(kl_budget=kl_budget, tried=tuple(tried), lr=lr, why=why)


def propose_rate(tried: Sequence[RateTrial], kl_budget: float) -> tuple[float, str]:
    """
    Return the rate at which the divergence is the budget, to two digits, and how it was found.

    Between two rates it is interpolated, on logarithms of both. Below the lowest one it follows from the divergence's
    growth with the square of the rate, which small steps show (LOG.md); above the highest nothing is promised.

    Args:
        tried: at least one, by rising rates.
        kl_budget: nats an answer.
    """
    above = next((i for i, trial in enumerate(tried) if trial.passes(kl_budget)), None)
    if above is None:
        return tried[-1].lr, f"the highest rate that was tried stays within {kl_budget:g} nats an answer"
    over, under = tried[above], tried[above - 1] if above else None
    if under is not None and under.kl and over.kl is not None:
        share = log(kl_budget / under.kl) / log(over.kl / under.kl)
        lr = under.lr * (over.lr / under.lr) ** share
        return _two_digits(lr), f"between {under.lr:g} and {over.lr:g} it comes to {kl_budget:g} nats an answer"
    if under is not None:
        return under.lr, f"{over.lr:g} goes further than {kl_budget:g} nats an answer"
    if over.kl is None:
        return _two_digits(over.lr / 4), f"already {over.lr:g} comes to no number; this is a quarter of it, not tried"
    lr = over.lr * sqrt(kl_budget / over.kl)
    return _two_digits(lr), f"already {over.lr:g} goes further; divergence grows with the rate's square, not tried"


def describe_kl(trial: RateTrial) -> str:
    """Return the divergence of a trial to three digits with its interval, or why there is none."""
    if trial.kl is None:
        return "no number"
    if trial.interval is None:
        return f"{trial.kl:.3g} (one prompt: no interval)"
    low, high = trial.interval
    return f"{trial.kl:.3g} ({low:.3g} to {high:.3g})"


@dataclass(frozen=True, slots=True)
class _Trials:
    """The few steps that every rate is tried with, and the answers that it is measured on."""

    job: TrainJob
    steps: list[Step]
    distance: float
    """Steps at the peak rate that a trial stands for."""
    answers: list[TokenRow]
    prompts: list[int]
    """The prompt of each of them."""

    @classmethod
    def of(cls, prepared: PreparedRun) -> "_Trials":
        needs, settings, inputs = prepared.loss.needs, prepared.config.train, prepared.inputs
        # The same few examples in every trial: what the reference says of them is computed once.
        cache = ReferenceCache(prepared.run_dir / "reference") if needs.sync_every is None else None
        job = prepared.job(
            cache=cache, measure=lambda _step, _validation: {}, stop=lambda: False, progress=NullProgress()
        )
        examples = min(settled(settings.batch_size, "batch_size"), _EXAMPLES)
        few = replace(job, settings=replace(settings, batch_size=examples))
        schedule = training_schedule(few, make_stepper(few, inputs.train))
        store = inputs.validation or inputs.train
        places = [int(place) for place in spread_over(store, _ANSWERS)]
        return cls(
            job=job,
            steps=[schedule.step(index % schedule.num_steps) for index in range(_STEPS)],
            distance=min(_FARTHEST, _distance(settings, prepared.steps.num_steps)),
            answers=[store.read(place) for place in places],
            prompts=[int(store.group[place]) for place in places],
        )

    def after(self, lr: float, masters: Masters, optimizer: torch.optim.Optimizer, progress: Progress) -> RateTrial:
        """Take the steps of a trial, and measure the divergence after them, where they come to a number."""
        job, stepper = self.job, make_stepper(self.job, self.job.train)
        rate = lr * self.distance / len(self.steps)
        try:
            for number, step in enumerate(self.steps, start=1):
                stepper.run(step, backward=True)
                update(masters, optimizer, rate, job.settings.max_grad_norm, step=number)
                progress.advance(1)
        except RunError:  # a gradient that is not finite
            return RateTrial(lr, None)
        with job.policy.scoring():
            nats, _ = row_kl(job.policy, self.answers, budget=token_budget(job))
        if not np.isfinite(nats).all():
            return RateTrial(lr, None)
        score = mean_with_interval(nats, self.prompts, name="kl", variant="after", bounds=(0, inf))
        return RateTrial(lr, float(nats.mean()), None if score is None else (score.low, score.high))


def _distance(settings: TrainSettings, num_steps: int) -> float:
    """Return how many steps at the peak rate go as far as all steps of the run, with warm-up and schedule."""
    unit = replace(settings, lr=1.0)
    return sum(learning_rate(unit, step, num_steps) for step in range(num_steps))


def _saved(prepared: PreparedRun, masters: Masters) -> checkpoint.Checkpoint:
    """Write the weights as they are, and return where they are."""
    folder = prepared.run_dir / "start"
    optimizer = make_optimizer(masters, prepared.config.train)
    start = snapshot(step=0, masters=masters, optimizer=optimizer, loss_state={}, identity=prepared.identity)
    save(folder, start, keep=1)
    saved, _ = checkpoint.newest(folder)
    if saved is None:
        raise RunError(f"the weights that were written to {folder} cannot be read again")
    return saved


def _require_start_as_reference(data: PreparedData) -> None:
    """Raise ConfigError where there is no divergence of answers from the model before training."""
    if data.loss.needs.rewards:
        raise ConfigError("--find-lr measures how far answers move, and a reward model gives none; leave it out")
    if data.run.config.model.reference is not None:
        raise ConfigError(
            "--find-lr measures the divergence from the model before training, and model.reference names another "
            "one; leave one of them out"
        )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
