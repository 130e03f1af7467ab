"""The set-up of a run."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.feedback.weights import class_weights
from haloes.losses._contract import Loss
from haloes.losses.make import loss_settings, make_loss
from haloes.models.cache import cache_dir
from haloes.models.device import choose_dtype
from haloes.models.liger import check_liger
from haloes.models.load import LoadedModel, load_model
from haloes.models.offload import check_offload
from haloes.models.policy import Policy, make_policy
from haloes.models.quantize import check_quantization
from haloes.models.reference_cache import ReferenceCache
from haloes.runs import run_folder as folder
from haloes.runs.callbacks import Progress
from haloes.runs.config import RunConfig
from haloes.runs.inputs import Inputs
from haloes.training.microbatch_size import choose_budget
from haloes.training.optimizer import check_optimizer


def check_extras(config: RunConfig, device: torch.device) -> None:
    """Raise ConfigError for the first setting that this machine cannot carry out, with what to install or change."""
    if config.model.quantize is not None:
        check_quantization(device)
    if config.model.liger:
        check_liger(device)
    if config.train.activation_offload:
        check_offload(device)
    check_optimizer(config.train, device)


def configured_loss(config: RunConfig) -> Loss[Any]:
    """The loss that a configuration names. Raises ConfigError where there is none, or it cannot be made."""
    if "name" not in config.loss:
        raise ConfigError("loss.name is missing: kto or another of `haloes losses`, or path/to/file.py:Class")
    return make_loss(str(config.loss["name"]), {key: value for key, value in config.loss.items() if key != "name"})


def label_weights(facts: Mapping[str, Any]) -> dict[str, float]:
    """The class weights that follow from the training rows."""
    weights = class_weights(facts["train"]["desirable"], facts["train"]["undesirable"])
    return {"desirable": weights.desirable, "undesirable": weights.undesirable}


def load_policy(
    config: RunConfig, loss: Loss[Any], inputs: Inputs, *, device: torch.device, dtype: torch.dtype, display: Progress
) -> Policy:
    """The model of a run, ready to be trained. Raises ConfigError where a row is longer than the model's window."""
    display.stage("model")
    loaded = load_model(
        config.model.name,
        dtype=dtype,
        device=device,
        four_bits=config.model.quantize is not None,
        liger=config.model.liger,
    )
    window = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(store.longest for store in (inputs.train, inputs.validation) if store is not None)
    if window is not None and longest > window:
        raise ConfigError(
            f"tokens.max_length is {config.tokens.max_length} and the longest row has {longest} tokens, but the window "
            f"of {config.model.name} is {window}: set tokens.max_length={window}"
        )
    return make_policy(
        loaded.model,
        lora=config.model.lora,
        reference=loss.needs.any_reference,
        seed=config.train.seed,
        synced=loss.needs.sync_every is not None,
        values=loss.needs.values,
        rewards=loss.needs.rewards,
        reference_model=None if config.model.reference is None else _reference(config, loaded, device, dtype),
    )


def _reference(config: RunConfig, policy: LoadedModel, device: torch.device, dtype: torch.dtype) -> Any:
    """The model that is named as the reference. Raises ConfigError where its tokens are not the policy's."""
    loaded = load_model(str(config.model.reference), dtype=dtype, device=device)
    if loaded.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ConfigError(
            f"model.reference {config.model.reference} has another tokenizer than {config.model.name}, so it cannot "
            "score the same tokens; name a model of the same family"
        )
    return loaded.model


def with_budget(config: RunConfig, policy: Policy, *, free: int) -> RunConfig:
    """The configuration with the tokens of a micro-batch that so much memory, beside what is held now, allows."""
    budget = choose_budget(policy, config.train, free=free)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, microbatch_tokens=budget))


def reference_cache(config: RunConfig, policy: Policy) -> ReferenceCache | None:
    """Where the reference's log-probabilities are kept; None where the run keeps none."""
    if not config.train.reference_cache:
        return None
    return ReferenceCache(cache_dir() / "reference" / policy.reference_fingerprint[:32])


def compute_dtype(config: RunConfig, run_dir: Path, device: torch.device, *, resume: bool) -> torch.dtype:
    """What to compute in: when a run is resumed, what it found out when it began."""
    name = config.model.dtype
    if resume and name == "auto":
        name = folder.read_config(run_dir).model.dtype
    return choose_dtype(name, device)


def resolved(config: RunConfig, loss: Loss[Any], dtype: torch.dtype) -> RunConfig:
    """The configuration with the dtype that was found out and every hyperparameter of the loss, as it is saved."""
    name: Any = str(dtype).removeprefix("torch.")
    model = dataclasses.replace(config.model, dtype=name)
    config = dataclasses.replace(config, model=model, loss=loss_settings(loss))
    return without_answers(config) if loss.needs.rewards else config


def without_answers(config: RunConfig) -> RunConfig:
    """For a reward model: there is nothing to sample, before or after. Raises ConfigError for what it cannot have."""
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
