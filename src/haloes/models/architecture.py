"""Facts of a causal language model that architectures spell differently: its body, its window, its thresholds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from haloes.errors import ModelError

_THRESHOLDS = (
    "sliding_window",
    "sliding_window_size",
    "attention_window_size",
    "attention_chunk_size",
    "window_size",
    "local_attention",
    "local_attention_window_len",
    "keep_window_size",
    "block_size",
    "index_topk",
    "index_block_size",
    "indexer_budget",
    "floor_scale",
    "log_scaling_n_floor",
    "original_max_position_embeddings",
)
"""Fields of configs that name a length from which on attention or positions are computed otherwise."""

COMPUTES_IN = "haloes_computes_in"
"""Attribute of a model whose weights are of another dtype than what it computes in."""


def body_of(model: Any) -> Any:
    """
    Return a causal language model without its output layer.

    Raises:
        ModelError: the model does not say which part of it that is.
    """
    named = getattr(model, model.base_model_prefix, None) if model.base_model_prefix else None
    if isinstance(named, torch.nn.Module):
        return named
    # Some classes inherit the name of a part that they have under another one (Llama 4's text model).
    inner = [child for child in model.children() if hasattr(child, "get_input_embeddings")]
    if len(inner) != 1:
        raise ModelError(
            f"{type(model).__name__} does not say which part of it makes the hidden states, so haloes cannot train it"
        )
    return inner[0]


def text_model_of(model: Any) -> Any:
    """Return the part of a model's body that reads text: all of it where it reads nothing else."""
    body, embeddings = body_of(model), model.get_input_embeddings()
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else body
    return decoder if any(module is embeddings for module in decoder.modules()) else body


def compute_dtype_of(model: Any) -> torch.dtype:
    """Return what the model computes in: the dtype of its weights, but where they are shards in float32."""
    found: torch.dtype = getattr(model, COMPUTES_IN, model.dtype)
    return found


def window_of(model: Any) -> int | None:
    """Return how many tokens the model can read; None for architectures that name no limit."""
    found = field_of(model.config.get_text_config(), "max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def layers_of(model: Any) -> int:
    """Return how many layers the model has; 1 for architectures that do not say."""
    found = field_of(model.config.get_text_config(), "num_hidden_layers")
    return found if isinstance(found, int) and found > 0 else 1


def thresholds_of(model: Any) -> list[int]:
    """Return the lengths, ascending, from which on the config computes attention or positions otherwise."""
    config = model.config.get_text_config()
    fields = [field_of(config, name) for name in _THRESHOLDS]
    rope = field_of(config, "rope_parameters") or {}
    fields += [part.get("original_max_position_embeddings") for part in _rope_parts(rope)]
    return sorted({value for value in fields if isinstance(value, int) and value > 1})


@dataclass(frozen=True, slots=True)
class Renewal:
    """Lengths at which the rotary positions of all earlier tokens change, so that their cached keys are of no use."""

    above: int | None
    """From one token more on; None: at no length."""
    always: bool = False
    """Whether each length past it has positions of its own, and not all of them the same."""

    def touches(self, length: int) -> bool:
        """Return whether a text that grows to this length passes such a place."""
        return self.above is not None and length > self.above

    def __call__(self, length: int) -> bool:
        """Return whether a text of this length has other keys than one of a token less."""
        return self.touches(length) and (self.always or length - 1 == self.above)


def renewal_of(model: Any) -> Renewal:
    """
    Return at which lengths rotary positions depend on the longest sequence of a forward pass.

    Dynamic scaling (NTK) takes other frequencies for each length, longrope (Phi-3) its second set: from the largest
    position in the whole pass. The modules know best: configs of several versions spell it in several ways.
    """
    found = []
    for module in _length_dependent(model):
        types = module.rope_type if isinstance(module.rope_type, dict) else {None: module.rope_type}
        parameters = module.config.rope_parameters
        for layer, kind in types.items():
            part = parameters if layer is None else parameters[layer]
            if kind == "longrope":
                found.append((int(part["original_max_position_embeddings"]), False))
            elif "dynamic" in kind:
                found.append((int(module.original_max_seq_len), True))
    return Renewal(min((above for above, _ in found), default=None), any(always for _, always in found))


def forget_lengths(model: Any) -> None:
    """
    Put rotary positions with dynamic scaling back to those of short sequences, in place.

    transformers keeps the frequencies of the longest sequence so far until a short one comes, so that a pass would
    depend on those before it.
    """
    for module in _length_dependent(model):
        for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
            prefix = name.removesuffix("max_seq_len_cached")
            setattr(module, name, module.original_max_seq_len)
            original = getattr(module, f"{prefix}original_inv_freq", None)
            current = getattr(module, f"{prefix}inv_freq", None)
            if original is not None and current is not None:
                module.register_buffer(f"{prefix}inv_freq", original.to(current.device).clone(), persistent=False)


def _length_dependent(model: Any) -> Iterator[Any]:
    """Yield the rotary embeddings whose frequencies follow from the length of what they are given."""
    for module in model.modules():
        kind = getattr(module, "rope_type", None)
        kinds = set(kind.values()) if isinstance(kind, dict) else {kind}
        if any(isinstance(name, str) and (name == "longrope" or "dynamic" in name) for name in kinds):
            yield module


def _rope_parts(rope: Any) -> list[dict[str, Any]]:
    """Return the settings of rotary positions, one for each kind of layer where they differ between layers."""
    parts = [part for part in rope.values() if isinstance(part, dict)]
    return parts or [rope]


def field_of(config: Any, name: str) -> Any:
    """Return a field of a config; None where it has none, or not one value for all layers."""
    try:
        return getattr(config, name, None)
    except (ValueError, RuntimeError):
        # transformers refuses to name one value for all layers where they differ (Gemma 4).
        return None
