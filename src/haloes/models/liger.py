"""
Layer kernels of Liger (https://github.com/linkedin/Liger-Kernel): norms, gated MLPs and rotary positions in one pass.

Its losses are left out: the head here is ours (`haloes.models.lm_head`). The kernels are written in Triton and need a
GPU; they replace functions of transformers' modules for the whole process, which is how Liger works.
"""

from typing import TYPE_CHECKING, Any

from haloes.errors import ConfigError, ModelError
from haloes.models.quiet import quiet

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'haloes[liger]'"
LAYERS = {"rope": True, "rms_norm": True, "layer_norm": True, "swiglu": True, "geglu": True}
LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}
_CLOSE = {"float32": 1e-3, "bfloat16": 0.75, "float16": 0.75}
"""Nats by which a random token's log-probability may move: rounding of other kernels (as `packing_check` allows)."""


def check_liger(device: "torch.device") -> None:
    """Raise ConfigError where Liger's kernels are not installed, or there is no GPU to run them."""
    if device.type != "cuda":
        raise ConfigError(f"model.liger: its kernels run on a GPU, and this run computes on {device}; leave it out")
    try:
        _functions()
    except ImportError as error:
        raise ConfigError(f"model.liger needs liger-kernel ({error}): {INSTALL}, or leave model.liger out") from error


def apply_liger(model: Any) -> None:
    """
    Replace the layers of a loaded model by Liger's, in place.

    Raises:
        ConfigError: Liger has no kernels for the architecture.
        ModelError: the model's log-probabilities are others with them.
    """
    apply, known = _functions()
    kind = model.config.model_type
    if kind not in known:
        raise ConfigError(
            f"model.liger: Liger has no kernels for {kind} models (it has them for {', '.join(sorted(known))}); "
            "leave it out"
        )
    before = _logps(model)
    with quiet():
        apply(model=model, **LAYERS, **LOSSES)
    off = float((_logps(model) - before).abs().max())
    if not off <= _CLOSE[str(model.dtype).removeprefix("torch.")]:
        raise ModelError(
            f"model.liger: with Liger's kernels the log-probabilities of {type(model).__name__} differ by {off:.2g} "
            "nats from those without; leave it out"
        )


def _functions() -> tuple[Any, Any]:
    """Return what applies Liger to a loaded model, as transformers and TRL do, and the architectures it knows."""
    from liger_kernel.transformers import _apply_liger_kernel_to_instance
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    return _apply_liger_kernel_to_instance, MODEL_TYPE_TO_APPLY_LIGER_FN


def _logps(model: Any) -> "torch.Tensor":
    """Return log p of every token of the vocabulary after each of 24 random ones, (1, 24, V) in nats."""
    import torch

    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, vocabulary, (1, 24), generator=generator).to(model.device)
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=ids, use_cache=False).logits.float(), dim=-1)
