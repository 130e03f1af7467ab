"""How much a run has to do, counted from its settings, its rows and its schedule."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from haloes.batches.collate import read_pair, row_key, sequences_of
from haloes.batches.schedule import Schedule
from haloes.losses._contract import Needs
from haloes.models.cache import cache_dir
from haloes.models.reference_cache import ReferenceCache
from haloes.planning.cost_model import CACHE_RECORD, FLOAT32, ModelSize, Workload
from haloes.runs.config import RunConfig
from haloes.tokens.store import TokenStore
from haloes.training.microbatch_size import MOMENTS
from haloes.training.settings import is_validated

_SAMPLE_TOKENS = 16_384
"""What `haloes.sampling.generate.sample` holds in its cache at once."""
_WRITTEN = 16 * 2**20
_LOOKED_UP = 2
"""Steps whose rows are looked up in the reference cache."""


def count_work(
    config: RunConfig,
    needs: Needs,
    sizes: ModelSize,
    *,
    train: TokenStore,
    validation: TokenStore | None,
    schedule: Schedule,
    itemsize: int,
    num_prompts: int,
    at_once: int,
    known: float,
) -> Workload:
    """
    Count what there is to do.

    Args:
        config: all settings.
        needs: of the loss.
        sizes: of the model.
        train: the rows that are trained on.
        validation: those that are held out.
        schedule: of the steps.
        itemsize: bytes of a number in the compute dtype.
        num_prompts: that are answered before and after.
        at_once: answers that are made at once.
        known: share of the reference's log-probabilities that its cache holds.
    """
    passes = schedule.num_steps / schedule.steps_per_epoch
    times = 1 + needs.mismatched
    validations = num_validations(config, schedule.num_steps) if validation is not None else 0
    held_out = 0 if validation is None else validation.num_tokens
    during = validations * _batches(min(config.watch.prompts, num_prompts), at_once)
    return Workload(
        steps=schedule.num_steps,
        training_tokens=round(train.num_tokens * passes),
        reference_tokens=round(
            (1 - known)
            * _reference_tokens(
                needs,
                cached=config.train.reference_cache and not needs.reference_tokens,
                tokens=train.num_tokens,
                passes=passes,
                held_out=held_out,
                validations=validations,
            )
        ),
        validation_tokens=held_out * times,
        validations=validations,
        answer_batches=2 * _batches(num_prompts, at_once) + during,
        new_tokens=config.samples.max_new_tokens,
        saved_bytes=num_checkpoints(config, schedule.num_steps) * checkpoint_bytes(sizes, config)
        + (sizes.weights if config.model.lora is None else sizes.trained) * itemsize,
    )


def _reference_tokens(
    needs: Needs, *, cached: bool, tokens: int, passes: float, held_out: int, validations: int
) -> float:
    """That the reference has to score: pairs of a prompt with another's completion are new in every pass."""
    if not needs.any_reference:
        return held_out  # log p of the model before training
    own = tokens * (min(passes, 1.0) if cached else passes)
    held = held_out * (min(validations, 1) if cached else validations)
    return own + held + needs.mismatched * (tokens * passes + held)


def num_validations(config: RunConfig, num_steps: int) -> int:
    """How often a run validates."""
    return sum(is_validated(config.train, step, num_steps) for step in range(1, num_steps + 1))


def num_checkpoints(config: RunConfig, num_steps: int) -> int:
    """How many checkpoints a run writes, one at its end among them."""
    return -(-num_steps // config.train.checkpoint_every)


def checkpoint_bytes(sizes: ModelSize, config: RunConfig) -> int:
    """Of one checkpoint: the trained weights and the optimizer's moments, in float32."""
    return sizes.trained * (FLOAT32 + moments(config))


def moments(config: RunConfig) -> int:
    """Bytes that the optimizer keeps for each trained number."""
    return MOMENTS[config.train.optimizer]


def disk_bytes(config: RunConfig, sizes: ModelSize, work: Workload, *, train: TokenStore, itemsize: int) -> int:
    """What a run takes on disk: its rows, its checkpoints, its model, and the reference cache."""
    kept = min(num_checkpoints(config, work.steps), config.train.keep_checkpoints + 1)
    best = checkpoint_bytes(sizes, config) if config.train.keep_best is not None else 0
    model = (sizes.weights if config.model.lora is None else sizes.trained) * itemsize
    mean = max(train.num_tokens / max(len(train), 1), 1.0)
    records = round(work.reference_tokens / mean) * CACHE_RECORD if config.train.reference_cache else 0
    return kept * checkpoint_bytes(sizes, config) + best + model + FLOAT32 * train.num_tokens + records


def answers_at_once(config: RunConfig, prompts: list[list[int]]) -> int:
    """How many answers are made at once: as many as the settings and the tokens held together allow."""
    if not prompts:
        return 0
    widest = max(map(len, prompts)) + config.samples.max_new_tokens
    return max(1, min(config.samples.batch_size, len(prompts), _SAMPLE_TOKENS // widest))


def known_share(config: RunConfig, needs: Needs, fingerprint: str, schedule: Schedule, train: TokenStore) -> float:
    """The share of what the first steps ask the reference that its cache holds already, from earlier runs."""
    folder = cache_dir() / "reference" / fingerprint[:32]
    if not config.train.reference_cache or not needs.any_reference or needs.reference_tokens or not folder.is_dir():
        return 0.0
    cache = ReferenceCache(folder)
    found: list[bool] = []
    for index in range(min(_LOOKED_UP, schedule.num_steps)):
        step = schedule.step(index)
        own = sequences_of(train, step.examples)
        pairs = [*zip(own.tolist(), own.tolist(), strict=True)]
        pairs += zip(step.examples.tolist(), step.mismatched.tolist(), strict=False)
        found += [cache.get(row_key(read_pair(train, x, y))) is not None for x, y in pairs]
    return float(np.mean(found)) if found else 0.0


def seconds_a_byte(folder: Path) -> float:
    """How long a byte of a checkpoint takes: written, brought to the disk, read and hashed."""
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


def free_disk(place: Path) -> int:
    """Free bytes where a run's folder would be."""
    import shutil

    existing: Any = next((path for path in (place, *place.absolute().parents) if path.exists()), Path("/"))
    return shutil.disk_usage(existing).free
