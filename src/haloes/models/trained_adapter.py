"""An adapter that was trained already: merged into its base, or put beside it again and trained further."""

from pathlib import Path
from typing import Any

from haloes.errors import ModelError
from haloes.models.load_fault import load_fault
from haloes.models.locate import ADAPTER, Location
from haloes.models.quiet import quiet
from haloes.models.untrusted_adapter import check_adapter, check_patterns

WEIGHTS = "adapter_model.safetensors"


def check_is_loadable(adapter: Location) -> None:
    """Raise ModelError for an adapter that is pickled, or would have something loaded that is not in its folder."""
    if not (adapter.path / WEIGHTS).is_file():
        raise ModelError(
            f"{adapter.name}: {adapter.path} has no {WEIGHTS}. Pickled adapters (.bin) are not "
            "loaded, because opening one can run any code; load it where you trust it and save it again with a "
            "current peft."
        )
    check_adapter(adapter.path / ADAPTER, _shapes(adapter))


def merged(adapter: Location, base: Any) -> Any:
    """
    Return a base model with an adapter merged into its weights, which it is given for good.

    Args:
        adapter: where it is; `check_is_loadable` let it pass.
        base: the model that it was trained on, in float32: in bfloat16 small updates would vanish in the sum.

    Raises:
        ModelError: it does not belong to this base.
    """
    with quiet():  # peft imports bitsandbytes, which may log that it lacks a package nobody needs
        from peft import PeftModel

    check_patterns(adapter.path / ADAPTER, [name for name, _ in base.named_modules()])
    try:
        with quiet():
            _resize_to(base, adapter.path / WEIGHTS)
            return PeftModel.from_pretrained(base, str(adapter.path)).merge_and_unload(safe_merge=True)
    except Exception as error:
        raise load_fault(adapter, "adapter", error) from error


def put_back(adapter: Location, model: Any) -> Any:
    """
    Put an adapter beside its base again, in place, and return the peft model; nothing but the adapter is trainable.

    Args:
        adapter: where it is.
        model: the model that it was trained on, in any dtype, also in four bits.

    Raises:
        ModelError: it does not belong to this model.
    """
    import torch

    with quiet():
        from peft import PeftModel, get_peft_model_state_dict

    check_is_loadable(adapter)
    check_patterns(adapter.path / ADAPTER, [name for name, _ in model.named_modules()])
    try:
        # What is random after it is as if there were no adapter.
        with torch.random.fork_rng(), quiet():
            peft_model = PeftModel.from_pretrained(
                model, str(adapter.path), is_trainable=True, autocast_adapter_dtype=False
            )
            there = set(get_peft_model_state_dict(peft_model))
    except Exception as error:
        raise load_fault(adapter, "adapter", error) from error
    # peft leaves out what finds no layer, and gives a layer for which there is nothing a new adapter.
    if apart := sorted(there ^ set(_shapes(adapter))):
        raise ModelError(
            f"{adapter.name}: the adapter in {adapter.path} does not belong to this model, as its layers are others "
            f"(such as {apart[0]})"
        )
    return peft_model


def _shapes(adapter: Location) -> dict[str, list[int]]:
    """Return the shape of each tensor of an adapter."""
    from safetensors import safe_open

    try:
        with safe_open(str(adapter.path / WEIGHTS), framework="pt") as file:
            return {key: file.get_slice(key).get_shape() for key in list(file.keys())}
    except Exception as error:
        raise load_fault(adapter, "adapter", error) from error


def _resize_to(base: Any, weights: Path) -> None:
    """Give the base as many token embeddings as its adapter brings along, which may have added marks of its own."""
    from safetensors import safe_open

    embeddings = base.get_input_embeddings()
    name = next(name for name, module in base.named_modules() if module is embeddings)
    with safe_open(str(weights), framework="pt") as file:
        keys = [key for key in list(file.keys()) if key.endswith(f".{name}.weight")]
        shapes = [file.get_slice(key).get_shape() for key in keys]
    if shapes and shapes[0][0] != embeddings.weight.shape[0]:
        base.resize_token_embeddings(shapes[0][0], mean_resizing=False)
