"""
What the settings leave open, or name by what they mean: found out once, and written into the configuration.

A resumed run takes what it began with: a processor, a log that has grown or a new default would answer otherwise.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Loss
from haloes.losses.make import loss_settings
from haloes.models.device import choose_dtype
from haloes.models.policy import Policy
from haloes.progress.contract import Progress
from haloes.run_files import MODEL, is_trained_run
from haloes.runs import run_folder
from haloes.runs.config import ModelSettings, RunConfig
from haloes.runs.drift import default_budget
from haloes.runs.held_out import held_out_share
from haloes.runs.inputs import Inputs
from haloes.runs.prepared_run import ResolvedRun
from haloes.runs.row_index import FeedbackIndex, index_feedback
from haloes.training.choose_rate import ChosenRate, choose_rate
from haloes.training.choose_steps import ChosenSteps
from haloes.training.settings import TrainSettings

_FOUND_OUT = ("lr", "batch_size", "epochs", "kl_budget")
"""Settings of training that may be "auto"."""


def with_steps_open(config: RunConfig) -> RunConfig:
    """Return the configuration as if it left rate, steps and budget open: what is encoded does not depend on them."""
    train = dataclasses.replace(config.train, lr="auto", batch_size="auto", epochs="auto", kl_budget="auto")
    return dataclasses.replace(config, train=train)


def as_it_began(config: RunConfig, run_dir: Path) -> RunConfig:
    """Return the configuration with what an earlier part of the run found out in place of "auto"."""
    model, train = config.model, config.train
    is_open = [name for name in _FOUND_OUT if getattr(train, name) == "auto"]
    if not is_open and model.dtype != "auto":
        return config
    earlier = run_folder.read_config(run_dir)
    dtype = earlier.model.dtype if model.dtype == "auto" else model.dtype
    found = {name: getattr(earlier.train, name) for name in is_open}
    return dataclasses.replace(
        config, model=dataclasses.replace(model, dtype=dtype), train=dataclasses.replace(train, **found)
    )


def choose_open_rate(config: RunConfig, loss: Loss[Any], policy: Policy, steps: ChosenSteps) -> ChosenRate | None:
    """Return the learning rate of a run whose settings leave it open; else None."""
    if config.train.lr != "auto":
        return None
    lora = config.model.lora
    return choose_rate(
        loss.needs,
        width=int(policy.scorer.model.config.get_text_config().hidden_size),
        lora_alpha=None if lora is None else lora.alpha,
        optimizer=config.train.optimizer,
        num_steps=steps.num_steps,
        batch_size=steps.batch_size,
    )


def choose_open_budget(train: TrainSettings, inputs: Inputs) -> float | None:
    """Return how far answers may move: a rate of one's own is not held back, unless one says so."""
    if train.kl_budget == "auto":
        return default_budget(inputs.validation or inputs.train) if train.lr == "auto" else None
    return train.kl_budget


def compute_dtype(model: ModelSettings, device: torch.device, *, earlier: str | None = None) -> torch.dtype:
    """Return what to compute in; for "auto" what an `earlier` part of the work began with, else what is fast here."""
    return choose_dtype(earlier if earlier is not None and model.dtype == "auto" else model.dtype, device)


def dtype_name(dtype: torch.dtype) -> Any:
    """Return a dtype as `model.dtype` spells it."""
    return str(dtype).removeprefix("torch.")


def with_resolved(config: RunConfig, loss: Loss[Any], dtype: torch.dtype) -> RunConfig:
    """Return the configuration as it is saved: with the dtype, and every hyperparameter of the loss."""
    # Written out, so that the run folder still says what it was when a default changes with a later version.
    # A run's folder as its model's: "runs/first" has the shape of a hub's name, and would be taken for one later.
    model = dataclasses.replace(
        config.model,
        name=_model_folder(config.model.name),
        init=config.model.init and _model_folder(config.model.init),
        reference=config.model.reference and _model_folder(config.model.reference),
        dtype=dtype_name(dtype),
    )
    config = dataclasses.replace(config, model=model, loss=loss_settings(loss))
    return without_answers(config) if loss.needs.rewards else config


def _model_folder(name: str) -> str:
    """Return the folder of a trained run's model where the name is that of a run; any other name as it is."""
    return str(Path(name) / MODEL) if is_trained_run(Path(name)) else name


def without_answers(config: RunConfig) -> RunConfig:
    """Return a reward model's configuration: it answers no prompts. Raises ConfigError for what it cannot have."""
    if config.samples.rater is not None or config.watch.prompts or config.watch.judge is not None:
        raise ConfigError(
            "samples.rater, watch.prompts and watch.judge are about a model's answers, and a reward model gives none; "
            "leave them out"
        )
    if config.model.quantize is not None:
        raise ConfigError(
            "model.quantize: a reward model is saved with its adapter merged, and that cannot be done in four bits; "
            "leave model.quantize out"
        )
    return dataclasses.replace(config, samples=dataclasses.replace(config.samples, prompts=0))


def with_share(run: ResolvedRun, progress: Progress) -> tuple[ResolvedRun, FeedbackIndex | None]:
    """Return the run with the share of held-out rows as a number, and the index of its rows where it took one."""
    settings, index = run.config.feedback, None
    if settings.validation_share != "auto" or settings.validation is not None:
        return run, None
    # A log may have grown since, and have more prompts.
    earlier = run_folder.read_config(run.run_dir).feedback.validation_share if run.same_run else "auto"
    if earlier != "auto":
        feedback = dataclasses.replace(settings, validation_share=earlier)
        return dataclasses.replace(run, config=dataclasses.replace(run.config, feedback=feedback)), None
    # Before the run's identity is taken, which counts the share: resumed, the run is the same by its number.
    if run.ranks.is_main:
        index = index_feedback(settings, run.loss.needs, progress=progress)  # the others wait for it
    share = run.ranks.broadcast(0.0 if index is None else float(held_out_share(settings, index.num_prompts)))
    feedback = dataclasses.replace(settings, validation_share=share)
    return dataclasses.replace(run, config=dataclasses.replace(run.config, feedback=feedback)), index
