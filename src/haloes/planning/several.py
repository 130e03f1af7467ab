"""The plan of a run over several processes on GPUs that need not be here: memory alone, computed from the shape."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from haloes.errors import ConfigError
from haloes.models.lm_head import CHUNK_BYTES
from haloes.planning.cost_model import FLOAT32, ModelSize, StepLoad
from haloes.planning.model_size import sizes_by_name
from haloes.planning.shares import kept_by_shape, shard_parts, whole_parts
from haloes.planning.workload import moments
from haloes.runs.config import RunConfig
from haloes.runs.setup import configured_loss
from haloes.runs.sharding import check_sharding, obstacle

_FILLED = 0.9
"""Share of a GPU's memory that is planned with: CUDA itself and gaps between tensors take the rest."""
_BFLOAT16 = 2
_UNITS = {"": 2**30, "g": 10**9, "gb": 10**9, "gi": 2**30, "gib": 2**30}
_MOST = 1024
"""Processes up to which it is looked for how many would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPlan:
    """What each process of a run holds, in bytes by part."""

    facts: Mapping[str, Any]
    """Model, what is trained, dtype, processes, the tokens that activations are counted for."""
    whole: Mapping[str, int]
    """Where each process holds everything."""
    shards: Mapping[str, int] | None
    """Where the weights lie in shards; None where they cannot, as in four bits."""
    needed: int
    """Bytes of a process as the run would be: whole, or in shards."""
    limit: int
    """Bytes of a GPU's memory that are planned with."""
    fits: bool
    advice: tuple[str, ...]
    """Sentences: what to set."""


def plan_shared(config: RunConfig, *, processes: int, gpu_memory: int, shard: bool) -> SharedPlan:
    """
    Compute what each of several processes of a run holds; no feedback is read, and no model is loaded.

    Args:
        config: all settings.
        processes: how many, each with a GPU of its own.
        gpu_memory: bytes of a GPU's memory.
        shard: whether the weights are to lie in shards in any case, as train.shard=full has them.

    Raises:
        ConfigError: there is no such loss, shards are asked for with what cannot be sharded, or train.shard_over does
            not divide the processes.
        ModelError: there is no such model.
    """
    loss = configured_loss(config.loss)
    sizes = sizes_by_name(config.model.name, config.model.lora, values=loss.needs.values)
    load = _load(config, sizes, any_reference=loss.needs.any_reference, logps=loss.needs.logps)
    wanted = "full" if shard else config.train.shard
    check_sharding(config.model, replace(config.train, shard=wanted))
    whole = whole_parts(sizes, load)
    can_share = processes > 1 and obstacle(config.model, config.train) is None
    over = config.train.shard_over or processes
    if can_share and processes % over:
        raise ConfigError(f"train.shard_over={over} does not divide {processes} processes into groups of as many")
    shards = shard_parts(sizes, load, over=over) if can_share else None
    limit = int(_FILLED * gpu_memory)
    # As a run decides: shards only where one copy does not fit, unless the settings say which.
    is_whole = shards is None or wanted == "off" or (wanted == "auto" and _total(whole) <= limit)
    chosen = whole if is_whole or shards is None else shards
    fits = _total(chosen) <= limit
    return SharedPlan(
        facts={
            "model": config.model.name,
            "loss": str(config.loss["name"]),
            "trained": "all weights" if config.model.lora is None else f"LoRA, rank {config.model.lora.rank}",
            "numbers that are trained": sizes.trained,
            "dtype": "float32" if load.itemsize == FLOAT32 else "bfloat16",
            "processes": processes,
            **({"processes that hold a copy together": over} if shards is not None and over < processes else {}),
            "tokens of a micro-batch": load.tokens,
        },
        whole=whole,
        shards=shards,
        needed=_total(chosen),
        limit=limit,
        fits=fits,
        advice=(_how_it_fits(is_whole, wanted),) if fits else tuple(_advice(config, sizes, load, limit=limit)),
    )


def parse_memory(text: str) -> int:
    """Return the bytes that a text says: 80G (of 10^9), 80Gi (of 2^30), or 80 (GiB). Raises ConfigError otherwise."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower(), re.ASCII)
    if found is None or found[2] not in _UNITS or not float(found[1]) > 0:
        raise ConfigError(f"--gpu-memory must be such as 80G, 80GiB or 80 (GiB), got {text}")
    return int(float(found[1]) * _UNITS[found[2]])


def _load(config: RunConfig, sizes: ModelSize, *, any_reference: bool, logps: bool) -> StepLoad:
    """Return what the settings say of a step; activations as the model's shape has them."""
    # GPUs that are trained on take bfloat16, whatever this machine does.
    itemsize = FLOAT32 if config.model.dtype == "float32" else _BFLOAT16
    reference = 0
    if config.model.reference is not None:
        reference = sizes_by_name(config.model.reference, None).weights
    elif any_reference and config.model.lora is None:
        reference = sizes.weights
    tokens = config.train.microbatch_tokens or config.tokens.max_length
    return StepLoad(
        itemsize=itemsize,
        moments=moments(config.train),
        reference=reference,
        chunk=max(1, CHUNK_BYTES // (FLOAT32 * sizes.vocabulary)) if logps else 0,
        four_bits=0 if config.model.quantize is None else sizes.blocks,
        checkpointing=config.train.gradient_checkpointing,
        offload=config.train.activation_offload,
        tokens=tokens,
        positions=tokens,
        kept=kept_by_shape(sizes, itemsize),
    )


def _total(parts: Mapping[str, int]) -> int:
    return sum(parts.values())


def _how_it_fits(is_whole: bool, shard: str) -> str:
    if is_whole:
        return "It fits with everything on each process"
    return "It fits with the weights in shards" + (", as train.shard=auto has them then" if shard == "auto" else "")


def _advice(config: RunConfig, sizes: ModelSize, load: StepLoad, *, limit: int) -> Iterator[str]:
    """Yield what to set where it does not fit, in sentences."""
    if obstacle(config.model, config.train) is None:
        for tried, more in ((load, ""), (replace(load, checkpointing=True), " and train.gradient_checkpointing=true")):
            if (enough := _enough(sizes, tried, limit=limit)) is not None:
                yield f"It fits with the weights in shards{more} on {enough} processes or more"
                break
    if not load.checkpointing:
        yield "train.gradient_checkpointing=true keeps fewer activations, for about a third more time a step"
    yield f"train.microbatch_tokens={load.tokens // 2} halves the activations, where no row is longer"
    if config.model.lora is None:
        yield "model.lora={rank: 16} trains adapters: no second model as a reference, and few moments and gradients"


def _enough(sizes: ModelSize, load: StepLoad, *, limit: int) -> int | None:
    """Return over how many processes the shards fit; None where the parts that are not sharded do not."""
    return next((n for n in range(2, _MOST + 1) if _total(shard_parts(sizes, load, over=n)) <= limit), None)
