"""The workload of a run, counted from its settings, its rows and its schedule."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from haloes.batches.collate import read_pair, row_key, sequences_of
from haloes.batches.schedule import Schedule
from haloes.losses._contract import Needs
from haloes.models.reference_cache import ReferenceCache
from haloes.planning.cost_model import CACHE_RECORD, FLOAT32, ModelSize, Workload
from haloes.runs.config import SampleSettings
from haloes.runs.load_policy import reference_folder
from haloes.tokens.store import TokenStore
from haloes.training.kl_limit import num_looks
from haloes.training.microbatch_size import MOMENTS
from haloes.training.settings import TrainSettings, is_validated

_SAMPLE_TOKENS = 16_384
"""Most tokens that `haloes.sampling.generate.sample` holds in its cache at once."""
_WRITTEN = 16 * 2**20
_LOOKED_UP = 2
"""Steps whose rows are looked up in the reference cache."""


def count_work(
    settings: TrainSettings,
    samples: SampleSettings,
    needs: Needs,
    sizes: ModelSize,
    *,
    train: TokenStore,
    validation: TokenStore | None,
    schedule: Schedule,
    itemsize: int,
    num_prompts: int,
    num_monitored: int,
    at_once: int,
    known: float,
    look_tokens: int,
) -> Workload:
    """
    Count what there is to do in a run.

    Args:
        settings: settings of the training.
        samples: settings of the answers before and after.
        needs: what the loss needs.
        sizes: sizes of the model.
        train: the rows that are trained on.
        validation: those that are held out.
        schedule: the order of the steps.
        itemsize: bytes of a number in the compute dtype.
        num_prompts: that are answered before and after.
        num_monitored: most prompts among those that are answered at every validation too.
        at_once: answers that are made at once.
        known: share of the reference's log-probabilities that its cache holds.
        look_tokens: of one look at the divergence; 0 where the run does not look at it.
    """
    passes = schedule.num_steps / schedule.steps_per_epoch
    times = 1 + needs.mismatched
    validations = num_validations(settings, schedule.num_steps) if validation is not None else 0
    held_out = 0 if validation is None else validation.num_tokens
    during = validations * _batches(min(num_monitored, num_prompts), at_once)
    return Workload(
        steps=schedule.num_steps,
        training_tokens=round(train.num_tokens * passes),
        reference_tokens=round(
            (1 - known)
            * _reference_tokens(
                needs,
                cached=settings.reference_cache and not needs.reference_tokens,
                tokens=train.num_tokens,
                passes=passes,
                held_out=held_out,
                validations=validations,
            )
        ),
        validation_tokens=held_out * times,
        validations=validations,
        looks=num_looks(schedule.num_steps) if look_tokens else 0,
        look_tokens=look_tokens,
        answer_batches=2 * _batches(num_prompts, at_once) + during,
        new_tokens=samples.max_new_tokens,
        saved_bytes=num_checkpoints(settings, schedule.num_steps) * checkpoint_bytes(sizes, settings)
        + model_bytes(sizes, itemsize=itemsize),
    )


def _reference_tokens(
    needs: Needs, *, cached: bool, tokens: int, passes: float, held_out: int, validations: int
) -> float:
    """Count the tokens that the reference has to score: mismatched completions are new in every pass over the data."""
    if not needs.any_reference:
        return held_out  # log p of the model before training
    # What the cache keeps is scored once, in the first pass over the data and the first validation.
    own = tokens * (min(passes, 1.0) if cached else passes)
    held = held_out * (min(validations, 1) if cached else validations)
    return own + held + needs.mismatched * (tokens * passes + held)


def num_validations(settings: TrainSettings, num_steps: int) -> int:
    """Count how often a run validates."""
    return sum(is_validated(settings, step, num_steps) for step in range(1, num_steps + 1))


def num_checkpoints(settings: TrainSettings, num_steps: int) -> int:
    """Count the checkpoints that a run writes, one at its end among them."""
    return -(-num_steps // settings.checkpoint_every)


def checkpoint_bytes(sizes: ModelSize, settings: TrainSettings) -> int:
    """Return the bytes of one checkpoint: the trained weights and the optimizer's moments, in float32."""
    return sizes.trained * (FLOAT32 + moments(settings))


def moments(settings: TrainSettings) -> int:
    """Return the bytes that the optimizer keeps for each trained number."""
    return MOMENTS[settings.optimizer]


def model_bytes(sizes: ModelSize, *, itemsize: int) -> int:
    """Return the bytes of the model that a run leaves: its adapters, or all weights where all are trained."""
    return (sizes.weights if sizes.head_trained else sizes.trained) * itemsize


def disk_bytes(settings: TrainSettings, sizes: ModelSize, work: Workload, *, train: TokenStore, itemsize: int) -> int:
    """Return what a run takes on disk: its rows, its checkpoints, its model, and the reference cache."""
    # While a checkpoint is written, the oldest one that is kept is still there.
    kept = min(num_checkpoints(settings, work.steps), settings.keep_checkpoints + 1)
    best = checkpoint_bytes(sizes, settings) if settings.keep_best is not None else 0
    mean = max(train.num_tokens / max(len(train), 1), 1.0)
    records = round(work.reference_tokens / mean) * CACHE_RECORD if settings.reference_cache else 0
    model = model_bytes(sizes, itemsize=itemsize)
    # Both ends of the line on which a part of the change is taken back, where the answers after training need that.
    ends = 0 if settings.repeats_budget is None else model + FLOAT32 * sizes.trained
    return kept * checkpoint_bytes(sizes, settings) + best + model + ends + FLOAT32 * train.num_tokens + records


def answers_at_once(samples: SampleSettings, prompts: list[list[int]]) -> int:
    """Return how many answers are sampled at once: as many as the settings and the tokens held together allow."""
    if not prompts:
        return 0
    widest = max(map(len, prompts)) + samples.max_new_tokens
    return max(1, min(samples.batch_size, len(prompts), _SAMPLE_TOKENS // widest))


def known_share(needs: Needs, fingerprint: str, schedule: Schedule, train: TokenStore) -> float:
    """Return the share of what the first steps ask the reference that its cache holds already, from earlier runs."""
    folder = reference_folder(fingerprint)
    if not needs.any_reference or needs.reference_tokens or not folder.is_dir():
        return 0.0
    cache = ReferenceCache(folder)
    cached: list[bool] = []
    for index in range(min(_LOOKED_UP, schedule.num_steps)):
        step = schedule.step(index)
        own = sequences_of(train, step.examples)
        pairs = [*zip(own.tolist(), own.tolist(), strict=True)]
        pairs += zip(step.examples.tolist(), step.mismatched.tolist(), strict=False)
        cached += [cache.get(row_key(read_pair(train, x, y))) is not None for x, y in pairs]
    return float(np.mean(cached)) if cached else 0.0


def seconds_a_byte(folder: Path) -> float:
    """Time a byte of a checkpoint: written, synced to the disk, read and hashed."""
    data = np.random.default_rng(0).bytes(_WRITTEN)
    path = folder / "written"
    began = time.perf_counter()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    hashlib.sha256(path.read_bytes()).hexdigest()
    took = time.perf_counter() - began
    path.unlink()
    return took / _WRITTEN


def _batches(count: int, at_once: int) -> int:
    return -(-count // at_once) if count else 0


def free_disk(folder: Path) -> int:
    """Return the free bytes where a run's folder would be."""
    import shutil

    existing: Any = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    return shutil.disk_usage(existing).free
