"""Which processes of a run share the weights (`train.shard`, `train.shard_over`), and what then cannot be done."""

import json
import os
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Needs
from haloes.models.fingerprint import combined, is_by_tensor, tensor_hash, weights_fingerprint, what_it_is
from haloes.models.load import because_whole, empty_model
from haloes.models.policy import Policy
from haloes.models.unread_weights import files_of
from haloes.runs.config import ModelSettings, RunConfig
from haloes.training.distributed import Ranks
from haloes.training.microbatch_size import MOMENTS, free_memory
from haloes.training.settings import TrainSettings

Loaded: TypeAlias = tuple[Policy, int]
"""A policy, and the tokens of its micro-batches."""

_FLOAT32 = 4
_ROOM = 0.8
"""Share of the memory that weights, moments and gradients may take: activations need the rest."""


def check_sharding(model: ModelSettings, train: TrainSettings) -> None:
    """Raise ConfigError where the settings ask for shards of what cannot be cut into them."""
    cause = obstacle(model, train)
    if train.shard == "full" and cause is not None:
        raise ConfigError(f"train.shard=full does not go with {cause} yet: set train.shard=off, or leave that out")


def processes_a_copy(config: RunConfig, ranks: Ranks, device: torch.device, dtype: torch.dtype) -> int:
    """
    Return how many of the run's processes hold one copy of the weights together, the same on all; 1: each holds all.

    Raises ConfigError where the processes cannot be divided into so many.
    """
    model, train = config.model, config.train
    if ranks.count == 1 or train.shard == "off":
        return 1
    if train.shard == "auto" and obstacle(model, train) is not None:
        return 1
    over = train.shard_over
    if over is not None and ranks.count % over:
        raise ConfigError(
            f"train.shard_over={over} does not divide the run's {ranks.count} processes into groups of as many: take a "
            "number that does, or leave it out"
        )
    if train.shard == "full" and over is not None:
        return over
    free = free_memory(device) // (ranks.count if device.type == "cpu" else 1)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.count))
    said = [json.loads(text) for text in ranks.gather(json.dumps([free, here]).encode())]
    # The least of all: GPUs may not be equally free, and all of them share or none.
    room, needed = _ROOM * min(free for free, _ in said), bytes_of_a_copy(model, train, dtype)
    if train.shard == "auto" and needed <= room:
        return 1
    machines = {here for _, here in said}
    divides = len(machines) == 1 and 1 < here < ranks.count and ranks.count % here == 0
    return over or (here if divides and needed // here <= room else ranks.count)


def bytes_of_weights(model: ModelSettings, dtype: torch.dtype) -> int:
    """Return the bytes of a model's weights, with those of a second one that is its reference."""
    weights: int = sum(parameter.numel() for name in _names(model) for parameter in empty_model(name).parameters())
    return weights * int(dtype.itemsize)


def bytes_of_a_copy(model: ModelSettings, train: TrainSettings, dtype: torch.dtype) -> int:
    """Return the bytes of one copy of the weights while they are trained; an adapter's own are next to nothing."""
    weights: int = sum(parameter.numel() for parameter in empty_model(model.name).parameters())
    if model.lora is not None:
        return weights * int(dtype.itemsize)
    master = 0 if dtype == torch.float32 else _FLOAT32
    # Twice in the compute dtype: the reference is a copy.
    return weights * (2 * int(dtype.itemsize) + master + _FLOAT32 + MOMENTS[train.optimizer])


def load_in_shards(load: Callable[[], Loaded], ranks: Ranks, *, needed: int, over: int) -> Loaded:
    """
    Load the policy in each process, and cut its weights into shards over all of them, which come here together.

    A process whose policy leaves its weights in their files reads its own rows. Any other has the whole policy in host
    memory until its shards are cut out; where a machine has no room for as many as it has processes they take turns.

    Args:
        load: returns the policy in host memory, and a number that is handed on.
        ranks: the processes.
        needed: bytes that a policy takes in host memory; 0 where its weights stay in their files.
        over: how many processes hold one copy of the weights together.
    """
    # Not at the top: it takes seconds, which a run without shards does not need.
    from haloes.models.sharded import cut, set_up

    if ranks.group is None:
        return load()
    mesh, place = ranks.group.mesh(over), int(os.environ.get("LOCAL_RANK", ranks.index))
    own = turn_of(place, free=free_memory(torch.device("cpu")), needed=needed)
    # Machines may differ in the number of turns, and all wait for the last.
    last = max(map(int, ranks.gather(str(own).encode())))
    for _ in range(own):
        ranks.barrier()
    policy, number = load()
    policy = cut(policy, mesh)
    for _ in range(own, last):
        ranks.barrier()
    return set_up(policy), number


def why_whole(model: ModelSettings, needs: Needs, dtype: torch.dtype, ranks: Ranks) -> str | None:
    """
    Return why each process has to load whole models before it cuts its shards out of them; None where it need not.

    It is the same on all processes, which come here together.
    """
    found = f"{model.name}: a reward head is tried out on it first" if needs.rewards else ""
    for name in _names(model):
        if not found and (why := because_whole(name, dtype)) is not None:
            found = f"{name}: {why}"
    return next((said.decode() for said in ranks.gather(found.encode()) if said), None)


def shared_fingerprint(model: Any, ranks: Ranks, *, like: str | None) -> str:
    """
    Return a model's `weights_fingerprint`; of weights in files the processes of a machine read some each.

    Each machine reads all, as its files may be copies, which are to be the same.

    Args:
        model: where its weights are in files all processes come here together.
        ranks: the processes.
        like: a recorded fingerprint that this one is compared with.
    """
    files = files_of(model)
    if files is None or not is_by_tensor(like):  # or one hash of everything, one after the other
        return weights_fingerprint(model, like=like)
    place, here = (
        int(os.environ.get(name, at)) for name, at in (("LOCAL_RANK", ranks.index), ("LOCAL_WORLD_SIZE", ranks.count))
    )
    machine = os.environ.get("GROUP_RANK", "")
    own: dict[str, str] = {}
    for names in list(files.once().values())[place::here]:
        own |= dict.fromkeys(names, tensor_hash(files[names[0]]))
    hashes: dict[str, str] = {}
    for said in map(json.loads, ranks.gather(json.dumps([machine, own]).encode())):
        hashes |= said[1] if said[0] == machine else {}
    return combined(what_it_is(model), hashes)


def bytes_of_shards(policy: Policy, *, over: int) -> int:
    """Return the bytes of one of so many parts of a policy's weights and its reference's, in their dtype."""
    from haloes.models.sharded import models_of

    held: int = sum(weight.nbytes for model, _ in models_of(policy) for weight in model.parameters())
    return held // over


def turn_of(place: int, *, free: int, needed: int) -> int:
    """
    Return when a process of a machine loads, counted from 0: as many do at a time as there is room for.

    Args:
        place: of the process on its machine.
        free: bytes that are free on it.
        needed: bytes that each takes.
    """
    return place // max(1, int(_ROOM * free) // max(1, needed))


def _names(model: ModelSettings) -> list[str]:
    return [model.name, *([] if model.reference is None else [model.reference])]


def whole(policy: Policy, ranks: Ranks) -> Policy | None:
    """
    Return the policy as it is saved, with all of its weights; None in processes that hold shards and do not save.

    The processes come here together.
    """
    if policy.shell is None:
        return policy
    from haloes.models.sharded import assemble

    return assemble(policy, keep=ranks.is_main)


def obstacle(model: ModelSettings, train: TrainSettings) -> str | None:
    """Return the setting that keeps weights from being shared; None where there is none."""
    if model.quantize is not None:
        return f"model.quantize={model.quantize}"
    if train.optimizer == "adamw8bit":
        return "train.optimizer=adamw8bit"
    return "train.activation_offload=true" if train.activation_offload else None
