"""The size of a model, read off one without weights: nothing is loaded, and nothing computed."""

from collections.abc import Iterator
from typing import Any

import torch

from haloes.models.adapters import LoRA, add_lora
from haloes.models.load import empty_model
from haloes.models.scalar_heads import ValueHead
from haloes.planning.cost_model import ModelSize


def sizes_by_name(name: str, lora: LoRA | None, *, values: bool = False) -> ModelSize:
    """
    Return the sizes of a model that is trained in full, or with adapters.

    Args:
        name: as for `haloes.models.load.load_model`.
        lora: the adapters; None trains all weights.
        values: whether a value head is trained with it.
    """
    model = empty_model(name)
    return sizes_of(model if lora is None else add_lora(model, lora, seed=0), full=lora is None, values=values)


def sizes_of(model: Any, *, full: bool, values: bool = False) -> ModelSize:
    """Count the sizes of a model, or of the peft model around it, whose adapters alone are trained unless `full`."""
    # All from shapes: the model is on the "meta" device and has no numbers.
    head = model.get_output_embeddings().weight
    embeddings = model.get_input_embeddings().weight
    named = dict(model.named_parameters())  # each once, also where the output layer is the embeddings
    extra = sum(p.numel() for p in ValueHead(head.shape[1], seed=0).parameters()) if values else 0
    weights = sum(p.numel() for p in named.values())
    trained = {name: p for name, p in named.items() if full or p.requires_grad}
    adapters = set() if full else set(trained)
    blocks = [p for name, p in named.items() if p.dim() > 1 and p is not head and p is not embeddings]
    config = model.config.get_text_config()
    layers = int(getattr(config, "num_hidden_layers", 0))
    heads = int(getattr(config, "num_attention_heads", 1))
    size = int(getattr(config, "head_dim", None) or head.shape[1] // heads)
    return ModelSize(
        weights=weights + extra,
        trained=sum(p.numel() for p in trained.values()) + extra,
        blocks=sum(p.numel() for p in blocks) - sum(named[name].numel() for name in adapters),
        head=head.numel(),
        width=head.shape[1],
        vocabulary=head.shape[0],
        layers=layers,
        key_values=2 * layers * int(getattr(config, "num_key_value_heads", None) or heads) * size,
        queries=layers * heads * size,
        trained_share=1.0 if full else _share(adapters, layers),
        head_trained=full,
    )


def _share(adapters: set[str], layers: int) -> float:
    """Return the share of the layers from the lowest one with an adapter on."""
    lowest = min(_blocks(adapters), default=0)
    return (layers - lowest) / layers if layers else 1.0


def _blocks(names: set[str]) -> Iterator[int]:
    for name in names:
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        if number is not None:
            yield number


def itemsize(dtype: torch.dtype) -> int:
    """Return the bytes of a number."""
    return torch.empty((), dtype=dtype).element_size()
