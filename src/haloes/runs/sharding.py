"""Whether the processes of a run share the weights (`train.shard`), and what then cannot be done."""

import torch

from haloes.errors import ConfigError
from haloes.models.load import empty_model
from haloes.models.policy import Policy
from haloes.runs.config import ModelSettings, RunConfig
from haloes.training.distributed import Ranks
from haloes.training.microbatch_size import MOMENTS, free_memory
from haloes.training.settings import TrainSettings

_FLOAT32 = 4
_ROOM = 0.8
"""Share of the memory that weights, moments and gradients may take: activations need the rest."""


def check_sharding(model: ModelSettings, train: TrainSettings) -> None:
    """Raise ConfigError where the settings ask for shards of what cannot be cut into them."""
    cause = obstacle(model, train)
    if train.shard == "full" and cause is not None:
        raise ConfigError(f"train.shard=full does not go with {cause} yet: set train.shard=off, or leave that out")


def shares_weights(config: RunConfig, ranks: Ranks, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the run's processes hold a part of every weight each; the same on all of them."""
    model, train = config.model, config.train
    if ranks.count == 1 or train.shard == "off":
        return False
    if train.shard == "full":
        return True
    if obstacle(model, train) is not None:
        return False
    free = free_memory(device) // (ranks.count if device.type == "cpu" else 1)
    # The least of all: GPUs may not be equally free, and all of them share or none.
    least = min(map(int, ranks.gather(str(free).encode())))
    return bytes_of_a_copy(model, train, dtype) > _ROOM * least


def bytes_of_a_copy(model: ModelSettings, train: TrainSettings, dtype: torch.dtype) -> int:
    """Return the bytes of one copy of the weights while they are trained; an adapter's own are next to nothing."""
    weights: int = sum(parameter.numel() for parameter in empty_model(model.name).parameters())
    if model.lora is not None:
        return weights * int(dtype.itemsize)
    master = 0 if dtype == torch.float32 else _FLOAT32
    # Twice in the compute dtype: the reference is a copy.
    return weights * (2 * int(dtype.itemsize) + master + _FLOAT32 + MOMENTS[train.optimizer])


def shared(policy: Policy, ranks: Ranks) -> Policy:
    """Return the policy with its weights cut into shards over the processes, which come here together."""
    # Not at the top: it takes seconds, which a run without shards does not need.
    from haloes.models.sharded import shard_policy

    return policy if ranks.group is None else shard_policy(policy, ranks.group.mesh())


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
