"""A run as its set-up leaves it: resolved, with its feedback encoded, and with its model loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from haloes.losses._contract import Loss
from haloes.models.policy import Policy
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import Progress
from haloes.runs.config import RunConfig
from haloes.runs.drift import make_drift
from haloes.runs.held_out import held_out_note
from haloes.runs.inputs import Inputs
from haloes.runs.user_code import UserCode
from haloes.training.choose_rate import ChosenRate
from haloes.training.choose_steps import ChosenSteps
from haloes.training.cut import Cut, never
from haloes.training.distributed import Ranks
from haloes.training.job import TrainJob
from haloes.training.rounding import Rounding
from haloes.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRun:
    """A run before anything of it is read: its settings, and what they left to the machine."""

    config: RunConfig
    """All settings; learning rate, steps and micro-batches may still be open, which depend on data and model."""
    run_dir: Path
    loss: Loss[Any]
    """The loss as it was named: class weights may be "auto" until the rows are counted."""
    device: torch.device
    dtype: torch.dtype
    """The dtype that the model computes in."""
    ranks: Ranks
    same_run: bool
    """Whether the folder's run is resumed as it was, so that everything that decides its result must be the same."""
    code: tuple[UserCode, ...] = ()
    """The user's own loss, rater and rule."""
    processes_a_copy: int = 1
    """Processes that hold one copy of the weights together; 1: each of them holds all."""

    @property
    def shares_weights(self) -> bool:
        """Return whether each of its processes holds a part of every weight, and not all of them."""
        return self.processes_a_copy > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedData:
    """A run with its feedback encoded, before its model is loaded."""

    run: ResolvedRun
    inputs: Inputs
    loss: Loss[Any]
    """The loss with its class weights."""
    identity: Mapping[str, str]
    """Hashes of the data set, the tokenizer and the configuration as far as it is known, by name."""

    @property
    def could_show(self) -> str | None:
        """Return what the held-out prompts can show, in a sentence; None where none are answered."""
        return held_out_note(self.run.config, self.inputs.facts, len(self.inputs.prompts))


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run before its first step."""

    config: RunConfig
    """All settings, with everything that was found out: `make_config` of it is the same run."""
    run_dir: Path
    loss: Loss[Any]
    inputs: Inputs
    policy: Policy
    device: torch.device
    ranks: Ranks
    same_run: bool
    identity: Mapping[str, str]
    """Hashes of all that must be the same when the run is resumed, by name."""
    steps: ChosenSteps
    rate: ChosenRate | None
    """The learning rate with the reason for it, where the settings left it open."""
    rounding: Rounding | None
    """By how much rounding moves its numbers; None where too little to show, or where nothing has a log-probability."""
    warnings: tuple[str, ...]
    """Sentences for the user about the data, the steps and the speed."""

    def job(
        self,
        *,
        cache: ReferenceCache | None,
        measure: Callable[[int, Validation], Mapping[str, Any]],
        stop: Callable[[], bool],
        progress: Progress,
        falls_apart: Callable[[], bool] | None = None,
        cut: Cut = never,
        allow_changes: bool = False,
    ) -> TrainJob:
        """
        Return what the trainer carries out.

        Args:
            cache: keeps the reference's log-probabilities between runs.
            measure: gives further numbers of the validation after a step.
            stop: asked after every step; True ends the run.
            progress: told how far the work is.
            falls_apart: asked after training whether the policy answers as it must not.
            cut: asked between two passes; True gives the step up and ends the run.
            allow_changes: go on from a checkpoint of another identity.
        """
        return TrainJob(
            policy=self.policy,
            loss=self.loss,
            train=self.inputs.train,
            validation=self.inputs.validation,
            selection=self.inputs.selection,
            settings=self.config.train,
            run_dir=self.run_dir,
            identity=self.identity,
            allow_changes=allow_changes,
            ranks=self.ranks,
            cache=cache,
            measure=measure,
            stop=stop,
            falls_apart=falls_apart,
            cut=cut,
            progress=progress,
            rounding=0.0 if self.rounding is None else self.rounding.nats,
            drift=None
            if self.config.train.kl_budget is None
            else make_drift(self.policy, self.loss.needs, self.inputs.validation or self.inputs.train),
        )
