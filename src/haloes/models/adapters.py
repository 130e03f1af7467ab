"""LoRA: small trainable matrices beside the frozen weights of the model's linear layers."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from haloes.errors import ConfigError
from haloes.models.quiet import quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRA:
    """Which layers get an adapter, and how large it is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    rank: int = 16
    """Rank of an adapter's update, its number of inner dimensions: raised, it can learn more, and memory and file
    grow with it. peft's and TRL's examples use 8 to 64."""
    alpha: float = 32.0
    """Scale of an adapter's update, which is multiplied by alpha / rank: raised, the same adapter changes the model
    more, like a higher learning rate. Twice the rank is usual."""
    targets: str | list[str] = "all-linear"
    """Which layers get an adapter: "all-linear" (all but the output layer), a regular expression, or a list of
    module names. Fewer take less memory and learn less."""
    layers: list[int] | None = None
    """Only these transformer blocks get adapters (0 is the first); null for all. The backward pass ends at the
    lowest of them, so that the upper blocks alone train faster."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"model.lora.rank must be at least 1, got {self.rank}")


def add_lora(model: Any, lora: LoRA, *, seed: int) -> Any:
    """
    Put adapters into the model, in place, and return it as a peft model; nothing but the adapters is trainable.

    The adapter starts as the zero update, so that the policy is the reference; its random half is decided by `seed`.
    Raises ConfigError when no layer matches, or the output layer does.
    """
    import torch

    with quiet():  # peft imports bitsandbytes, which may log that it lacks a package nobody needs
        from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=lora.targets if lora.layers is None else _layers_within(model, lora),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    try:
        # The adapter's start is the seed's alone, and what is random after it is as if there were none.
        with torch.random.fork_rng(), quiet():
            torch.manual_seed(seed)
            peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"model.lora: no adapter could be added for targets {lora.targets!r}: {error}") from error
    if not isinstance(model.get_output_embeddings(), torch.nn.Linear):
        raise ConfigError(
            f"model.lora.targets {lora.targets!r} takes in the output layer, which is applied in chunks and cannot "
            "have an adapter; name the other layers only"
        )
    return peft_model


def _layers_within(model: Any, lora: LoRA) -> list[str]:
    """Return the names of the linear layers in the blocks asked for; peft does this for lists of names alone."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found = []
    for name, module in model.named_modules():
        block = next((int(part) for part in name.split(".") if part.isdigit()), None)
        if isinstance(module, torch.nn.Linear | Conv1D) and block in (lora.layers or []) and _is_target(name, lora):
            found.append(name)
    if not found:
        raise ConfigError(f"model.lora: no adapter could be added for targets {lora.targets!r} in layers {lora.layers}")
    return found


def _is_target(name: str, lora: LoRA) -> bool:
    if lora.targets == "all-linear":
        return True
    if isinstance(lora.targets, str):
        return re.fullmatch(lora.targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in lora.targets)
