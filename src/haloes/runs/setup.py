"""
The one set-up of a run, for training, planning, online rounds and experiments.

What the settings leave open is found out here, once, in three steps of rising cost: `resolve_run` reads nothing but the
run's own folder, `prepare_data` encodes the feedback, and `prepare_run` loads the model. A plan stops after the second
where not even the weights would fit. Below these three a function takes the section of the settings that it needs.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.feedback.weights import class_weights
from haloes.losses._contract import Loss
from haloes.losses._output_check import check_output
from haloes.losses._weights import with_weights
from haloes.losses.make import make_loss
from haloes.models.device import choose_device
from haloes.models.liger import check_liger
from haloes.models.load import load_tokenizer
from haloes.models.offload import check_offload
from haloes.models.policy import Policy
from haloes.models.quantize import check_quantization
from haloes.progress.contract import Progress
from haloes.runs import run_folder
from haloes.runs.auto_settings import (
    as_it_began,
    choose_open_budget,
    choose_open_rate,
    compute_dtype,
    dtype_name,
    with_resolved,
    with_share,
    with_steps_open,
)
from haloes.runs.config import ModelSettings, RunConfig
from haloes.runs.go_on import BASE, check_base, recorded_weights
from haloes.runs.inputs import make_inputs, sizes_read
from haloes.runs.load_policy import load_policy
from haloes.runs.prepared_run import PreparedData, PreparedRun, ResolvedRun
from haloes.runs.sharding import (
    bytes_of_shards,
    bytes_of_weights,
    check_sharding,
    load_in_shards,
    processes_a_copy,
    shared_fingerprint,
    why_whole,
)
from haloes.runs.shared_start import check_same
from haloes.runs.sources import read_sources
from haloes.runs.user_code import code_identity, user_code
from haloes.runs.warnings import data_warnings, speed_warnings
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.encode import make_encoder, tokenizer_fingerprint
from haloes.training.choose_steps import choose_steps, too_few_steps
from haloes.training.distributed import Ranks, this_rank
from haloes.training.microbatch_size import bytes_in_use, choose_budget, free_memory
from haloes.training.optimizer import check_optimizer
from haloes.training.rounding import Rounding, measure_rounding
from haloes.training.settings import TrainSettings


def resolve_run(
    config: RunConfig,
    run_dir: Path,
    *,
    loss: Loss[Any] | None = None,
    ranks: Ranks | None = None,
    resume: bool = False,
    rater: Callable[..., Any] | None = None,
    allow_changes: bool = False,
) -> ResolvedRun:
    """
    Find out what the settings leave to the machine, and refuse what it cannot carry out, before any time is spent.

    Args:
        config: all settings.
        run_dir: the run's folder.
        loss: a loss to use in place of the configuration's.
        ranks: the processes that share the run; those that `torchrun` started if left out.
        resume: resume the run that the folder holds, with the dtype, the learning rate and the steps that it began
            with where the settings leave them open.
        rater: a function in place of the one that the configuration names.
        allow_changes: resume it even if what decides its result has changed.

    Raises:
        ConfigError: a setting cannot take effect here, there is no such loss, or it returns what no loss may return.
        RunError: there is no run to resume.
    """
    device = choose_device(config.model.device)
    # Before processes meet: one that fails alone would leave the others waiting for it.
    check_extras(config.model, config.train, device)
    ranks = ranks or this_rank(device)
    if resume:
        config = as_it_began(config, run_dir)
    # Each process may find out both differently: the folder by its free number, the dtype by its processor.
    place, kind = ranks.broadcast([str(run_dir), dtype_name(compute_dtype(config.model, device))])
    run_dir, dtype = Path(place), getattr(torch, kind)
    loss = loss or configured_loss(config.loss)
    check_output(loss, device)
    return ResolvedRun(
        processes_a_copy=processes_a_copy(config, ranks, device, dtype),
        config=with_resolved(config, loss, dtype),
        run_dir=run_dir,
        loss=loss,
        device=device,
        dtype=dtype,
        ranks=ranks,
        same_run=resume and not allow_changes,
        code=user_code(config, loss, rater),
    )


def prepare_data(run: ResolvedRun, *, progress: Progress) -> PreparedData:
    """
    Encode the run's feedback into its folder, or open what an earlier part of the run encoded; weigh the classes.

    Raises:
        ConfigError: no feedback is named.
        DataError: rows that cannot be used, or too few.
        RunError: the run is resumed, and its data, tokenizer or settings are not what they were.
    """
    loss = run.loss
    if not run.config.feedback.source:
        raise ConfigError("feedback.source is missing: give a feedback file")
    run, index = with_share(run, progress)
    config = run.config
    # The tokenizer comes without the weights: encoding may take minutes, and needs no model in memory meanwhile.
    tokenizer = with_template_kwargs(load_tokenizer(config.model.start), config.tokens.chat_template_kwargs)
    sources = read_sources(config.feedback, sizes_read(run.run_dir) if run.same_run else ())
    for source in sources:
        if source.added:
            progress.note(source.note)
    identity = {
        "data set": run_folder.digest(source.digest for source in sources),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "configuration": _configuration_digest(config, loss),
    }
    check_same(run.ranks, identity)
    # Once more with the model's hashes in `prepare_run`: here it costs no loading of a model to refuse.
    if run.same_run:
        run_folder.check_identity(run.run_dir, identity | code_identity(run.code))
    inputs = make_inputs(
        config.feedback,
        run.run_dir,
        needs=loss.needs,
        encoder=make_encoder(tokenizer, max_length=config.tokens.max_length).with_reasoning(
            trained=config.feedback.reasoning == "keep"
        ),
        identity={**identity, "configuration": _configuration_digest(with_steps_open(config), loss)},
        num_prompts=config.samples.prompts,
        # What is sampled is chosen on answers, and not on rows.
        selects=config.train.keep_best is not None and not config.train.keep_best.startswith("sampled/"),
        sources=sources,
        index=index,
        threads=config.train.threads,
        ranks=run.ranks,
        progress=progress,
    )
    weights = class_weights(*inputs.train.class_totals())
    # Only where a weight is "auto"; a number that the user gave stays.
    weighted = with_weights(loss, desirable=weights.desirable, undesirable=weights.undesirable)
    if weighted != loss and run.ranks.is_main:
        run_folder.write_class_weights(run.run_dir, weights)
    return PreparedData(run=run, inputs=inputs, loss=weighted, identity=identity)


def prepare_run(
    data: PreparedData, *, progress: Progress, limit: int | None = None, keep_start: bool = False
) -> PreparedRun:
    """
    Load the model, make it trainable, and choose the size of its micro-batches.

    Args:
        data: the run with its feedback encoded.
        progress: told how far the work is.
        limit: bytes that the run may take on its device; what is free there if left out.
        keep_start: keep the model before training as a reference, whether or not the loss needs one.

    Raises:
        ConfigError: a row is longer than the model's window, or the reference has another tokenizer.
        ModelError: a model cannot be loaded, or is no longer the one that the run goes on from.
        RunError: the run is resumed, and its model or its reference is not what it was.
    """
    run, config = data.run, data.run.config
    progress.stage("loading the model")
    load = partial(_load, data, limit=limit, keep_start=keep_start)
    if run.shares_weights:
        because = why_whole(config.model, data.loss.needs, run.dtype, run.ranks)
        if because is not None:
            progress.note(f"each process loads the whole model before it keeps its shards alone, because of {because}")
        needed = 0 if because is None else bytes_of_weights(config.model, run.dtype)
        policy, own = load_in_shards(
            partial(load, in_files=because is None), run.ranks, needed=needed, over=run.processes_a_copy
        )
    else:
        policy, own = load()
    # The least that fits on any of them: GPUs may not be equally free.
    budget = min(map(int, run.ranks.gather(str(own).encode())))
    num_examples = data.inputs.train.num_examples
    steps = choose_steps(num_examples, batch_size=config.train.batch_size, epochs=config.train.epochs)
    rate = choose_open_rate(config, data.loss, policy, steps)
    train = dataclasses.replace(
        config.train,
        lr=config.train.lr if rate is None else rate.value,
        batch_size=steps.batch_size,
        epochs=steps.epochs,
        kl_budget=choose_open_budget(config.train, data.inputs),
    )
    config = dataclasses.replace(config, train=dataclasses.replace(train, microbatch_tokens=budget))
    identity = {
        **data.identity,
        **code_identity(run.code),
        "configuration": _configuration_digest(config, run.loss),
        "reference model": policy.reference_fingerprint,
    }
    if policy.start_fingerprint is not None:
        identity["model"] = policy.start_fingerprint
    if policy.base_fingerprint is not None:
        identity[BASE] = policy.base_fingerprint
    if config.train.dropout:
        # It falls on the numbers in the order in which they are computed; without it the size only rounds.
        sizes = (budget, config.train.microbatch_examples, run.ranks.count)
        identity["size of the micro-batches, by which dropout falls"] = str(sizes)
    check_same(run.ranks, identity)
    if run.same_run:
        run_folder.check_identity(run.run_dir, identity)
    warnings = data_warnings(data.inputs.facts, data.loss)
    if few := too_few_steps(num_examples, steps):
        warnings.append(few)
    if policy.unpacked_because is not None:
        warnings.append(f"sequences are padded and not packed, which is slower: {policy.unpacked_because}")
    warnings += speed_warnings(policy.scorer, config.train)
    return PreparedRun(
        config=config,
        run_dir=run.run_dir,
        loss=data.loss,
        inputs=data.inputs,
        policy=policy,
        device=run.device,
        ranks=run.ranks,
        same_run=run.same_run,
        identity=identity,
        steps=steps,
        rate=rate,
        rounding=_rounding(policy, data, progress),
        warnings=tuple(warnings),
    )


def _load(data: PreparedData, *, limit: int | None, keep_start: bool, in_files: bool = False) -> tuple[Policy, int]:
    """Load the model, and return it with the tokens of a micro-batch that fit beside it on this process's device."""
    run, config = data.run, data.run.config
    # The longest row decides whether the window is large enough, and only the encoded data know it.
    policy = load_policy(
        config.model,
        data.loss.needs,
        longest=max(
            store.longest
            for store in (data.inputs.train, data.inputs.validation, data.inputs.selection)
            if store is not None
        ),
        max_length=config.tokens.max_length,
        seed=config.train.seed,
        # What is shared is cut out of host memory, layer by layer: no GPU ever holds all of it.
        device=torch.device("cpu") if run.shares_weights else run.device,
        dtype=run.dtype,
        keep_start=keep_start,
        in_files=in_files,
        hashed=partial(shared_fingerprint, ranks=run.ranks, like=recorded_weights(config.model, run.run_dir)),
    )
    check_base(config.model, policy.base_fingerprint)
    # Only now is it known what the weights take. Processes on one CPU share its memory; each GPU has its own.
    free = (limit or free_memory(run.device)) - bytes_in_use(run.device)
    free //= run.ranks.count if run.device.type == "cpu" else 1
    if in_files:  # what they take is still to come
        free -= bytes_of_shards(policy, over=run.processes_a_copy)
    return policy, choose_budget(policy, config.train, free=free, device=run.device, processes=run.processes_a_copy)


def _rounding(policy: Policy, data: PreparedData, progress: Progress) -> Rounding | None:
    """Measure by how much rounding moves the run's numbers; not in float32, of whose 1e-5 nats no number shows any."""
    if data.run.dtype == torch.float32 or not data.loss.needs.logps:
        return None
    progress.stage("measuring rounding")
    return measure_rounding(policy, data.inputs.train)


def _configuration_digest(config: RunConfig, loss: Loss[Any]) -> str:
    """Hash the settings that decide the result, with the loss as a value too."""
    # One that is given from Python may have no name that settings can spell.
    return run_folder.digest([run_folder.configuration_hash(config), repr(loss)])


def check_extras(model: ModelSettings, train: TrainSettings, device: torch.device) -> None:
    """Raise ConfigError for the first setting that this machine cannot carry out, with what to install or change."""
    if model.quantize is not None:
        check_quantization(device)
    if model.liger:
        check_liger(device)
    if train.activation_offload:
        check_offload(device)
    check_optimizer(train, device)
    check_sharding(model, train)


def configured_loss(section: Mapping[str, Any]) -> Loss[Any]:
    """Return the loss that the section `loss` names. Raises ConfigError where there is none, or it cannot be made."""
    if "name" not in section:
        raise ConfigError("loss.name is missing: kto or another of `haloes losses`, or path/to/file.py:Class")
    return make_loss(str(section["name"]), {key: value for key, value in section.items() if key != "name"})
