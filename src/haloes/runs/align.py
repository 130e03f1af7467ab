"""The main job: from feedback to an aligned model, measured before and after on what was held out."""

import dataclasses
import errno
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError, RunError
from haloes.feedback.weights import class_weights
from haloes.judging._contract import Judge
from haloes.losses._contract import Loss
from haloes.losses._weights import with_weights
from haloes.losses.table import loss_settings, make_loss
from haloes.models.cache import cache_dir
from haloes.models.device import choose_device, choose_dtype
from haloes.models.load import LoadedModel, load_model
from haloes.models.policy import Policy, make_policy
from haloes.models.reference_cache import ReferenceCache
from haloes.records import Score
from haloes.report.load import load_run
from haloes.run_files import METRICS, SAMPLES
from haloes.runs import run_folder as folder
from haloes.runs.callbacks import Display, Silent, tensorboard_if_installed
from haloes.runs.config import RunConfig
from haloes.runs.extras import check_extras
from haloes.runs.finish import Work, answer, finish
from haloes.runs.inputs import Inputs, make_inputs
from haloes.runs.live_judge import configured_judge
from haloes.runs.measure import Rater, load_rater, rate
from haloes.runs.monitor import During, watch_judge
from haloes.runs.process import stop_on_interrupt
from haloes.runs.threads import computing_with
from haloes.runs.warnings import data_cautions, speed_cautions
from haloes.training.distributed import Ranks, this_rank
from haloes.training.microbatch_size import choose_budget, free_memory, held
from haloes.training.trainer import Outcome, TrainJob, Watcher, train


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    run_dir: Path
    """Its folder: the model, the report, and every number."""
    scores: tuple[Score, ...]
    """What was measured on held-out prompts, before and after; empty on all processes but the main one."""
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
    allow_changes: bool = False,
    display: Display | None = None,
) -> Run:
    """
    Carry a run out, or go on with it from its newest checkpoint.

    Args:
        config: all settings.
        run_dir: the run's folder; a new one, unless the run is resumed.
        loss: a loss to use in place of the configuration's.
        resume: go on with the run that the folder holds.
        allow_changes: resume even if the data, the tokenizer, the model or the settings are not what they were.
        display: who is told of the progress.

    Raises:
        UserError: something that the user can put right; nothing is left half-written.
        Interrupted: the user stopped the run, which was saved and can be resumed.
    """
    began = time.perf_counter()
    device = choose_device(config.model.device)
    check_extras(config, device)
    ranks = this_rank(device)
    # Both may be found out differently by each process: the folder by its number, the dtype by its speed.
    run_dir, dtype = ranks.same((run_dir, _dtype(config, run_dir, device, resume=resume)))
    display = display if display is not None and ranks.is_main else Silent()
    loss = loss or configured_loss(config)
    config = _resolved(config, loss, dtype)
    known = ranks.same(_finished(config, run_dir) if resume and not allow_changes else None)
    if known is not None:
        return dataclasses.replace(known, is_main=ranks.is_main)
    rater = load_rater(config.samples.rater) if config.samples.rater else None
    judge = configured_judge(config)
    check = resume and not allow_changes
    with _claimed(run_dir, ranks, resume=resume), computing_with(config.train.threads):
        inputs = make_inputs(config, run_dir, loss, ranks, check=check, display=display)
        weights = label_weights(inputs.facts)
        resolved = with_weights(loss, **weights)
        if resolved != loss and ranks.is_main:
            folder.note_weights(run_dir, weights)
        loss = resolved
        policy = load_policy(config, loss, inputs, device=device, dtype=dtype, display=display)
        free = (free_memory(device) - held(device)) // (ranks.count if device.type == "cpu" else 1)
        config = ranks.same(with_budget(config, policy, free=free))
        inputs.identity["reference model"] = policy.reference_fingerprint
        if policy.start_fingerprint is not None:
            inputs.identity["model"] = policy.start_fingerprint
        if check:
            folder.check_identity(run_dir, inputs.identity)
        work = Work(config, run_dir, policy, inputs, display)
        cautions = data_cautions(inputs.facts, loss)
        if policy.unpacked_because is not None:
            cautions.append(f"sequences are padded and not packed, which is slower: {policy.unpacked_because}")
        cautions += speed_cautions(policy.scorer, config.train)
        if ranks.is_main:
            folder.write_config(run_dir, config)
            folder.start(
                run_dir,
                inputs.identity,
                device=str(device),
                processes=ranks.count,
                attention=policy.scorer.attention,
            )
            if allow_changes:
                (run_dir / SAMPLES).unlink(missing_ok=True)
        during = _during(work, rater, judge, ranks, resume=check)
        outcome = _train(work, loss, ranks, during, allow_changes=allow_changes)
        scores: tuple[Score, ...] = ()
        if ranks.is_main:
            cautions += [*outcome.damaged, *during.alarms(), *during.never_measured()]
            if outcome.best_step is not None:
                cautions.append(
                    f"the model is that after step {outcome.best_step} of {outcome.num_steps}, where "
                    f"{config.train.keep_best} was best"
                )
            scores = finish(work, outcome, rater, cautions)
            folder.finish(run_dir, inputs.identity, seconds=time.perf_counter() - began, steps=outcome.num_steps)
        ranks.wait()
    return Run(run_dir, scores, outcome.num_steps, ranks.is_main)


def _finished(config: RunConfig, run_dir: Path) -> Run | None:
    """The run as it is, if it is finished and was started with this very configuration."""
    steps = folder.finished_steps(run_dir)
    if steps is None or folder.read_config(run_dir) != config:
        return None
    return Run(run_dir, load_run(run_dir).scores, steps, was_finished=True)


def _train(work: Work, loss: Loss[Any], ranks: Ranks, during: During, *, allow_changes: bool) -> Outcome:
    with stop_on_interrupt() as stop:
        job = TrainJob(
            policy=work.policy,
            loss=loss,
            train=work.inputs.train,
            validation=work.inputs.validation,
            settings=work.config.train,
            run_dir=work.run_dir,
            identity=work.inputs.identity,
            allow_changes=allow_changes,
            ranks=ranks,
            cache=reference_cache(work.config, work.policy),
            measure=during.measure,
            stop=stop,
        )
        watchers: list[Watcher] = [work.display, during, *tensorboard_if_installed(work.run_dir)]
        return train(job, watchers if ranks.is_main else [])


def _during(work: Work, rater: Rater | None, judge: Judge | None, ranks: Ranks, *, resume: bool) -> During:
    """The answers before training, and whoever says what they are worth; who fails does so now, and not later."""
    before, watching = [], None
    if ranks.is_main:
        before = answer(work, "before")
        if rater is not None:
            rate(rater, before[:1])
        if judge is not None:
            watching = watch_judge(work, judge, before, resume=resume)
    return During(work, ranks.same(before), rater, watching)


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
    config: RunConfig, loss: Loss[Any], inputs: Inputs, *, device: torch.device, dtype: torch.dtype, display: Display
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


def _dtype(config: RunConfig, run_dir: Path, device: torch.device, *, resume: bool) -> torch.dtype:
    """What to compute in: when a run is resumed, what it found out when it began."""
    name = config.model.dtype
    if resume and name == "auto":
        name = folder.read_config(run_dir).model.dtype
    return choose_dtype(name, device)


def _resolved(config: RunConfig, loss: Loss[Any], dtype: torch.dtype) -> RunConfig:
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


@contextmanager
def _claimed(run_dir: Path, ranks: Ranks, *, resume: bool) -> Iterator[None]:
    """A new run's folder, which is gone again if nothing was trained in it; or the folder of a run to go on with."""
    if resume:
        folder.read_config(run_dir)
    elif ranks.is_main:
        folder.claim(run_dir)
    try:
        yield
    except BaseException as error:
        if ranks.is_main and not resume and not (run_dir / METRICS).exists():
            shutil.rmtree(run_dir, ignore_errors=True)
        cause = _out_of_room(error, run_dir)
        if cause is not None:
            raise cause from error
        raise


def _out_of_room(error: BaseException, run_dir: Path) -> RunError | None:
    """A full disk, or memory that ran out beside the training steps (which say so themselves), in one line."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RunError(f"{run_dir} cannot be written ({error.strerror}); free some space, and start or resume the run")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return RunError(
            "out of memory while the model was loaded, answered or was measured: lower samples.batch_size, or take "
            "model.dtype=bfloat16 or a smaller model"
        )
    return None
