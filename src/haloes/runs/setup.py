"""
The one set-up of a run, for training, planning, online rounds and experiments.

What the settings leave open is found out here, once, in three steps of rising cost: `resolve_run` reads nothing but the
run's own folder, `prepare_data` encodes the feedback, and `prepare_run` loads the model. A plan stops after the second
where not even the weights would fit. Below these three a function takes the section of the settings that it needs.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.feedback.weights import class_weights
from haloes.losses._contract import Loss, Needs
from haloes.losses._output_check import check_output
from haloes.losses._weights import with_weights
from haloes.losses.make import loss_settings, make_loss
from haloes.models.adapters import LoRA
from haloes.models.architecture import window_of
from haloes.models.cache import cache_dir
from haloes.models.device import choose_device, choose_dtype
from haloes.models.liger import check_liger
from haloes.models.load import LoadedModel, load_model, load_tokenizer
from haloes.models.offload import check_offload
from haloes.models.policy import Policy, make_policy
from haloes.models.quantize import check_quantization
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import Progress
from haloes.run_files import MODEL, is_trained_run
from haloes.runs import run_folder
from haloes.runs.config import ModelSettings, RunConfig
from haloes.runs.data import FeedbackIndex, index_feedback
from haloes.runs.drift import default_budget, make_drift
from haloes.runs.held_out import held_out_note, held_out_share
from haloes.runs.inputs import Inputs, make_inputs, sizes_read
from haloes.runs.sources import read_sources
from haloes.runs.user_code import UserCode, code_identity, user_code
from haloes.runs.warnings import data_warnings, speed_warnings
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.encode import make_encoder, tokenizer_fingerprint
from haloes.training.choose_rate import ChosenRate, choose_rate
from haloes.training.choose_steps import ChosenSteps, choose_steps, too_few_steps
from haloes.training.cut import Cut, never
from haloes.training.distributed import Ranks, this_rank
from haloes.training.job import TrainJob
from haloes.training.microbatch_size import bytes_in_use, choose_budget, free_memory
from haloes.training.optimizer import check_optimizer
from haloes.training.rounding import Rounding, measure_rounding
from haloes.training.settings import TrainSettings
from haloes.training.validation import Validation

_FOUND_OUT = ("lr", "batch_size", "epochs", "kl_budget")
"""Settings of training that may be "auto"."""


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
            cut=cut,
            progress=progress,
            rounding=0.0 if self.rounding is None else self.rounding.nats,
            drift=None
            if self.config.train.kl_budget is None
            else make_drift(self.policy, self.loss.needs, self.inputs.validation or self.inputs.train),
        )


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
        config = _as_it_began(config, run_dir)
    # Each process may find out both differently: the folder by its free number, the dtype by its processor.
    place, kind = ranks.broadcast([str(run_dir), dtype_name(compute_dtype(config.model, device))])
    run_dir, dtype = Path(place), getattr(torch, kind)
    loss = loss or configured_loss(config.loss)
    check_output(loss, device)
    return ResolvedRun(
        config=_with_resolved(config, loss, dtype),
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
    run, index = _with_share(run, progress)
    config = run.config
    # The tokenizer comes without the weights: encoding may take minutes, and needs no model in memory meanwhile.
    tokenizer = with_template_kwargs(load_tokenizer(config.model.name), config.tokens.chat_template_kwargs)
    sources = read_sources(config.feedback, sizes_read(run.run_dir) if run.same_run else ())
    for source in sources:
        if source.added:
            progress.note(source.note)
    identity = {
        "data set": run_folder.digest(source.digest for source in sources),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "configuration": _configuration_digest(config, loss),
    }
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
        identity={**identity, "configuration": _configuration_digest(_before_steps(config), loss)},
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
        ModelError: a model cannot be loaded.
        RunError: the run is resumed, and its model or its reference is not what it was.
    """
    run, config = data.run, data.run.config
    progress.stage("loading the model")
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
        device=run.device,
        dtype=run.dtype,
        keep_start=keep_start,
    )
    # Only now is it known what the weights take. Processes on one CPU share its memory; each GPU has its own.
    free = (limit or free_memory(run.device)) - bytes_in_use(run.device)
    free //= run.ranks.count if run.device.type == "cpu" else 1
    # The least that fits on any of them: GPUs may not be equally free.
    budget = min(map(int, run.ranks.gather(str(choose_budget(policy, config.train, free=free)).encode())))
    num_examples = data.inputs.train.num_examples
    steps = choose_steps(num_examples, batch_size=config.train.batch_size, epochs=config.train.epochs)
    rate = _chosen_rate(config, data.loss, policy, steps)
    train = dataclasses.replace(
        config.train,
        lr=config.train.lr if rate is None else rate.value,
        batch_size=steps.batch_size,
        epochs=steps.epochs,
        kl_budget=_chosen_budget(config.train, data.inputs),
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
    if config.train.dropout:
        # It falls on the numbers in the order in which they are computed; without it the size only rounds.
        sizes = (budget, config.train.microbatch_examples, run.ranks.count)
        identity["size of the micro-batches, by which dropout falls"] = str(sizes)
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


def _before_steps(config: RunConfig) -> RunConfig:
    """Return the configuration as if it left rate, steps and budget open: what is encoded does not depend on them."""
    train = dataclasses.replace(config.train, lr="auto", batch_size="auto", epochs="auto", kl_budget="auto")
    return dataclasses.replace(config, train=train)


def _as_it_began(config: RunConfig, run_dir: Path) -> RunConfig:
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


def _chosen_rate(config: RunConfig, loss: Loss[Any], policy: Policy, steps: ChosenSteps) -> ChosenRate | None:
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


def _chosen_budget(train: TrainSettings, inputs: Inputs) -> float | None:
    """Return how far answers may move: a rate of one's own is not held back, unless one says so."""
    if train.kl_budget == "auto":
        return default_budget(inputs.validation or inputs.train) if train.lr == "auto" else None
    return train.kl_budget


def check_extras(model: ModelSettings, train: TrainSettings, device: torch.device) -> None:
    """Raise ConfigError for the first setting that this machine cannot carry out, with what to install or change."""
    if model.quantize is not None:
        check_quantization(device)
    if model.liger:
        check_liger(device)
    if train.activation_offload:
        check_offload(device)
    check_optimizer(train, device)


def configured_loss(section: Mapping[str, Any]) -> Loss[Any]:
    """Return the loss that the section `loss` names. Raises ConfigError where there is none, or it cannot be made."""
    if "name" not in section:
        raise ConfigError("loss.name is missing: kto or another of `haloes losses`, or path/to/file.py:Class")
    return make_loss(str(section["name"]), {key: value for key, value in section.items() if key != "name"})


def compute_dtype(model: ModelSettings, device: torch.device, *, earlier: str | None = None) -> torch.dtype:
    """Return what to compute in; for "auto" what an `earlier` part of the work began with, else what is fast here."""
    return choose_dtype(earlier if earlier is not None and model.dtype == "auto" else model.dtype, device)


def dtype_name(dtype: torch.dtype) -> Any:
    """Return a dtype as `model.dtype` spells it."""
    return str(dtype).removeprefix("torch.")


def load_policy(
    settings: ModelSettings,
    needs: Needs,
    *,
    longest: int,
    max_length: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    keep_start: bool = False,
) -> Policy:
    """
    Load a model ready to be trained, with the reference that its loss needs.

    Args:
        settings: which model, and what of it is trained.
        needs: what the loss needs.
        longest: tokens of the longest row.
        max_length: `tokens.max_length`, which is named where the longest row does not fit.
        seed: seed of the start of adapters and heads.
        device: where it computes.
        dtype: what it computes in.
        keep_start: keep a reference even if the loss needs none.

    Raises:
        ConfigError: a row is longer than the model's window, or the reference has another tokenizer.
        ModelError: a model cannot be loaded.
    """
    loaded = load_model(
        settings.name, dtype=dtype, device=device, four_bits=settings.quantize is not None, liger=settings.liger
    )
    window = window_of(loaded.model)
    if window is not None and longest > window:
        raise ConfigError(
            f"tokens.max_length is {max_length} and the longest row has {longest} tokens, but the window "
            f"of {settings.name} is {window}: set tokens.max_length={window}"
        )
    other = None if settings.reference is None else _load_reference(settings, loaded, device, dtype)
    return trainable_policy(
        loaded.model,
        needs,
        lora=settings.lora,
        seed=seed,
        reference=needs.any_reference or keep_start,
        reference_model=other,
    )


def trainable_policy(
    model: Any, needs: Needs, *, lora: LoRA | None, seed: int, reference: bool, reference_model: Any | None = None
) -> Policy:
    """
    Make a loaded model trainable with a loss that has these needs.

    Args:
        model: is changed in place.
        needs: what the loss needs.
        lora: adapters, or None to train all weights.
        seed: seed of the start of adapters and heads.
        reference: whether the model before training is kept, which an experiment measures against whatever its loss.
        reference_model: another loaded model in its stead.
    """
    return make_policy(
        model,
        lora=lora,
        reference=reference,
        seed=seed,
        synced=needs.sync_every is not None,
        values=needs.values,
        rewards=needs.rewards,
        reference_model=reference_model,
    )


def reference_folder(fingerprint: str) -> Path:
    """Return where the log-probabilities of a reference are kept, by `Policy.reference_fingerprint`."""
    return cache_dir() / "reference" / fingerprint[:32]


def reference_cache(settings: TrainSettings, policy: Policy, ranks: Ranks) -> ReferenceCache | None:
    """Open what is kept of the reference's log-probabilities, for all processes; None where the run keeps nothing."""
    if not settings.reference_cache:
        return None
    folder = reference_folder(policy.reference_fingerprint)
    cache = ReferenceCache(folder) if ranks.is_main else None
    # The main process's, whatever other runs add to the folder meanwhile: look-ups have to agree.
    known = ranks.gather(b"" if cache is None else cache.to_bytes())[0] if ranks.count > 1 else b""
    return ReferenceCache(folder, known) if cache is None else cache


def _load_reference(settings: ModelSettings, policy: LoadedModel, device: torch.device, dtype: torch.dtype) -> Any:
    """Load the model that is named as the reference. Raises ConfigError where its tokens are not the policy's."""
    loaded = load_model(str(settings.reference), dtype=dtype, device=device)
    # The same ids must mean the same text to both, or the log-ratio compares different completions.
    if loaded.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ConfigError(
            f"model.reference {settings.reference} has another tokenizer than {settings.name}, so it cannot "
            "score the same tokens; name a model of the same family"
        )
    return loaded.model


def _with_resolved(config: RunConfig, loss: Loss[Any], dtype: torch.dtype) -> RunConfig:
    """Return the configuration as it is saved: with the dtype, and every hyperparameter of the loss."""
    # Written out, so that the run folder still says what it was when a default changes with a later version.
    # A run's folder as its model's: "runs/first" has the shape of a hub's name, and would be taken for one later.
    name = _model_folder(config.model.name)
    reference = None if config.model.reference is None else _model_folder(config.model.reference)
    model = dataclasses.replace(config.model, name=name, reference=reference, dtype=dtype_name(dtype))
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


def _with_share(run: ResolvedRun, progress: Progress) -> tuple[ResolvedRun, FeedbackIndex | None]:
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
