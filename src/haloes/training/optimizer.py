"""float32 weights behind the compute dtype, and the optimizer that moves them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from haloes.errors import ConfigError
from haloes.models.quiet import quiet
from haloes.models.weight_shards import is_shard
from haloes.training.settings import TrainSettings, settled

_SMALLEST = 4096
"""bitsandbytes keeps the moments of smaller weights in float32."""


@dataclass(frozen=True, slots=True)
class Masters:
    """
    The float32 weights that are trained, by name.

    Where the model computes in float32 they are its own parameters. Otherwise each is a copy: gradients of all
    micro-batches are added up in float32 as soon as they exist, and `publish` rounds the new weights back to the model.
    """

    weights: dict[str, Tensor]
    parameters: dict[str, torch.nn.Parameter]
    hooks: tuple[RemovableHandle, ...]

    def publish(self) -> None:
        """Bring the model's parameters up to date with the float32 weights."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if self.weights[name] is not parameter:
                    parameter.copy_(self.weights[name])

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for weight in self.weights.values():
            weight.grad = None

    def release(self) -> None:
        """Take no more gradients from the parameters, so that others may: of the next run with the same model."""
        self.zero_grad()
        for hook in self.hooks:
            hook.remove()

    def gradients(self) -> list[Tensor]:
        """Return the gradients of all weights in their fixed order; zeros where none arrived."""
        # Every process has to bring the same tensors to the sum over processes, also one that had no rows.
        for weight in self.weights.values():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    def own_gradients(self) -> list[Tensor]:
        """Return the gradients that hold this process's rows alone: shards have those of all rows already."""
        return [gradient for gradient in self.gradients() if not is_shard(gradient)]

    @property
    def are_shards(self) -> bool:
        """Return whether each process holds but a part of a weight."""
        return any(map(is_shard, self.weights.values()))

    def kinds(self) -> list[list[Tensor]]:
        """Return the weights by what can be computed with at once: whole ones, and shards; in their fixed order."""
        weights = list(self.weights.values())
        kinds = [[weight for weight in weights if is_shard(weight) == shards] for shards in (False, True)]
        return [kind for kind in kinds if kind]


def make_masters(parameters: Mapping[str, torch.nn.Parameter]) -> Masters:
    """Return float32 weights for these parameters; gradients flow to them from now on, until they are released."""
    weights: dict[str, Tensor] = {}
    hooks = []
    for name, parameter in parameters.items():
        if parameter.dtype == torch.float32:
            weights[name] = parameter
            continue
        master = parameter.detach().to(torch.float32)
        weights[name] = master
        hooks.append(_send_gradients(parameter, master))
    return Masters(weights, dict(parameters), tuple(hooks))


def check_optimizer(settings: TrainSettings, device: torch.device) -> None:
    """Raise ConfigError where the optimizer is not installed or cannot run here, after trying a small step."""
    if settings.optimizer != "adamw8bit":
        return
    try:
        with quiet():
            weight = torch.zeros(_SMALLEST, device=device)
            weight.grad = torch.ones_like(weight)
            _adamw8bit()([weight], lr=1.0).step()
            moved = float(weight.max())
    except ImportError as error:
        raise ConfigError(
            f"train.optimizer is adamw8bit, which needs bitsandbytes ({error}): pip install 'haloes[bitsandbytes]', or "
            "take train.optimizer=adamw"
        ) from error
    except Exception as error:
        raise ConfigError(_cannot_run(device, f"{type(error).__name__}: {error}")) from error
    if not moved < 0:
        raise ConfigError(_cannot_run(device, "a step left the weights where they were"))


def _cannot_run(device: torch.device, why: str) -> str:
    return (
        f"train.optimizer is adamw8bit, and bitsandbytes cannot compute it on {device} ({why}); take "
        "train.optimizer=adamw"
    )


def _adamw8bit() -> Any:
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


def _send_gradients(parameter: torch.nn.Parameter, master: Tensor) -> RemovableHandle:
    """Add the parameter's gradient to the master's as soon as it exists, and free it."""

    def move(source: Tensor) -> None:
        if source.grad is None:
            return
        # Each micro-batch is added in float32: a sum in bfloat16 would lose what is small beside it.
        if master.grad is None:
            master.grad = source.grad.to(torch.float32)
        else:
            master.grad += source.grad
        source.grad = None

    hook: RemovableHandle = parameter.register_post_accumulate_grad_hook(move)  # type: ignore[no-untyped-call]
    return hook


def make_optimizer(masters: Masters, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return AdamW (its moments in float32, or in 8 bits) or RMSprop over the float32 weights, in their fixed order."""
    weights, lr = [{"params": kind} for kind in masters.kinds()], settled(settings.lr, "lr")
    if settings.optimizer == "adamw8bit":
        eight_bits: torch.optim.Optimizer = _adamw8bit()(weights, lr=lr, weight_decay=settings.weight_decay)
        return eight_bits
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(weights, lr=lr, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(weights, lr=lr, weight_decay=settings.weight_decay, fused=True)
