"""LoRA: small trainable matrices beside the frozen weights of the model's linear layers."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from haloes.errors import ConfigError
from haloes.models.quiet import quiet
from haloes.models.untrusted_adapter import comes_to_an_end


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
    """Which layers get an adapter: "all-linear" (all of the text model but
    the output layer), a regular expression, or a list of
    module names. Fewer take less memory and learn less."""
    layers: list[int] | Literal["upper third"] | None = None
    """Only these transformer blocks get adapters (0 is the first), or the upper third of them, however many the model
    has; null for all. The backward pass ends at the lowest of them, so that the upper blocks alone train faster."""

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
        target_modules=_targets(model, lora),
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


def _targets(model: Any, lora: LoRA) -> str | list[str]:
    """Return what peft takes as its targets: the user's own, or the names of the layers that they stand for."""
    # The settings of a run may be somebody else's.
    if isinstance(lora.targets, str) and not comes_to_an_end(
        [lora.targets], [name for name, _ in model.named_modules()]
    ):
        raise ConfigError(
            f"model.lora.targets {lora.targets[:80]!r} is a regular expression that was not found in the names of the "
            "layers within seconds; name the layers instead"
        )
    if lora.targets != "all-linear" and lora.layers is None:
        if shared := sorted(name for name in _layers_with_shared_weights(model) if _is_target(name, lora)):
            raise ConfigError(
                f"model.lora.targets {lora.targets!r} takes in {shared[0]}, whose weights several blocks share: their "
                "adapters could not be merged into one; name other layers, or leave model.lora.targets at its default"
            )
        return lora.targets
    blocks = _blocks(model, lora)
    found = [name for name in _linear_layers(model) if _is_target(name, lora) and _is_within(name, blocks)]
    if not found:
        within = "" if lora.layers is None else f" in layers {lora.layers}"
        raise ConfigError(f"model.lora: no adapter could be added for targets {lora.targets!r}{within}")
    return found


def _linear_layers(model: Any) -> list[str]:
    """
    Return the names of the linear layers that an adapter can be put beside.

    They are those of the text model: completions are text, and a tower for images or sounds would get no gradient.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    from haloes.models.architecture import text_model_of

    text, output = text_model_of(model), model.get_output_embeddings()
    inside = {id(module) for module in text.modules()}
    shared = _layers_with_shared_weights(model)
    found = []
    for name, module in model.named_modules():
        linear = isinstance(module, torch.nn.Linear | Conv1D) and module is not output and id(module) in inside
        if linear and name not in shared and _is_plain(module) and not _is_read_by_mamba(model, name):
            found.append(name)
    return found


def _layers_with_shared_weights(model: Any) -> set[str]:
    """Return the names of the linear layers whose weights another one has too: the blocks that Zamba uses again."""
    import torch

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    users = Counter(id(module.weight) for _, module in layers)
    return {name for name, module in layers if users[id(module.weight)] > 1}


def _is_plain(module: Any) -> bool:
    """Return whether a layer is one matrix product; some only inherit from it, and compute by groups (DeepSeek 4)."""
    import torch
    from transformers.pytorch_utils import Conv1D

    from haloes.models.own_logits import FAILURES

    if type(module) in {torch.nn.Linear, Conv1D} or type(module).__module__.startswith("bitsandbytes"):
        return True
    weight_OI, bias_O = module.weight, module.bias
    input_1I = torch.randn(1, weight_OI.shape[1], generator=torch.Generator().manual_seed(0)).to(weight_OI)
    try:
        with torch.no_grad():
            output_1O = module(input_1I)
            return bool(torch.allclose(output_1O, torch.nn.functional.linear(input_1I, weight_OI, bias_O), atol=1e-2))
    except FAILURES:
        return False


def _is_read_by_mamba(model: Any, name: str) -> bool:
    """Return whether a Mamba layer's kernel reads this layer's weights itself, so that an adapter is passed over."""
    mixer = model.get_submodule(name.rpartition(".")[0])
    return all(hasattr(mixer, part) for part in ("conv1d", "A_log", "D")) and not name.endswith("in_proj")


def _blocks(model: Any, lora: LoRA) -> Collection[int] | None:
    """Return the numbers of the blocks asked for; None for all."""
    if lora.layers != "upper third":
        return lora.layers
    from haloes.models.architecture import layers_of

    # A third rounded up: a model of one block has an adapter too.
    depth = layers_of(model)
    return range(depth - -(-depth // 3), depth)


def _is_within(name: str, blocks: Collection[int] | None) -> bool:
    """Return whether a layer is in one of these blocks."""
    block = next((int(part) for part in name.split(".") if part.isdigit()), None)
    return blocks is None or block in blocks


def _is_target(name: str, lora: LoRA) -> bool:
    if lora.targets == "all-linear":
        return True
    if isinstance(lora.targets, str):
        return re.fullmatch(lora.targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in lora.targets)
