"""
QLoRA (Dettmers et al., 2023, https://arxiv.org/abs/2305.14314): frozen weights in four bits, the adapter beside them.

The linear layers inside the blocks are stored as NF4 numbers with doubly quantised scales and are computed in the
model's dtype; embeddings, norms and the output layer stay as they are. The reference is the same model with its adapter
off, so policy and reference are rounded alike.
"""

from typing import TYPE_CHECKING, Any

from haloes.errors import ConfigError
from haloes.models.quiet import quiet

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'haloes[bitsandbytes]'"


def quantization(dtype: "torch.dtype") -> Any:
    """How transformers is told to load a model in four bits that computes in this dtype."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def check_quantization(device: "torch.device") -> None:
    """Raise ConfigError where layers of four bits cannot be computed here; found out by computing a small one."""
    import torch

    try:
        with quiet(), torch.no_grad():
            from bitsandbytes.nn import Linear4bit

            layer = Linear4bit(64, 64, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4").to(device)
            layer(torch.ones(1, 64, dtype=torch.bfloat16, device=device))
    except ImportError as error:
        raise ConfigError(
            f"model.quantize is 4bit, which needs bitsandbytes ({error}): {INSTALL}, or leave model.quantize out"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"model.quantize is 4bit, and bitsandbytes cannot compute in it on {device} "
            f"({type(error).__name__}: {error}); leave model.quantize out"
        ) from error
