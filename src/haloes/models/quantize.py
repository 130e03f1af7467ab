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

_ROUNDING = 0.03
"""Relative difference that bfloat16 explains: a product's weights and result are each rounded to 8 bits."""
INSTALL = "pip install 'haloes[bitsandbytes]'"


def quantization(dtype: "torch.dtype") -> Any:
    """Return how transformers is told to load a model in four bits that computes in this dtype."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_differentiable(model: Any) -> None:
    """
    Keep the four-bit layers of a model, in place, on the path that bitsandbytes can differentiate.

    On a CPU with AVX-512 and bfloat16, a layer in eval mode that is once called without gradient (as a reference is)
    repacks its weights for a kernel made for inference. Later passes go through that kernel, which has no backward:
    torch warns, and the gradients of all adapters below it are wrong.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def check_quantization(device: "torch.device") -> None:
    """
    Check that four-bit layers can be trained through on this device, with a small one.

    The layer is called without gradient first, as in a run, and then its output and the gradient of its input are
    compared with those of its own dequantised weights.

    Raises:
        ConfigError: bitsandbytes is not installed, cannot compute here, or computes another output or gradient.
    """
    try:
        with quiet():
            differences = _differences_from_dequantised(device)
    except ImportError as error:
        raise ConfigError(
            f"model.quantize is 4bit, which needs bitsandbytes ({error}): {INSTALL}, or leave model.quantize out"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"model.quantize is 4bit, and bitsandbytes cannot compute in it on {device} "
            f"({type(error).__name__}: {error}); leave model.quantize out"
        ) from error
    for part, difference in differences.items():
        if not difference <= _ROUNDING:
            raise ConfigError(
                f"model.quantize is 4bit, and the {part} that bitsandbytes computes on {device} differs from that of "
                f"the dequantised weights by {difference:.0%}, so training would go wrong; leave model.quantize out, "
                "or install another version of bitsandbytes"
            )


def _differences_from_dequantised(device: "torch.device") -> "dict[str, float]":
    """Return the relative differences of a four-bit layer's output and input gradient from its dequantised weights'."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    generator = torch.Generator().manual_seed(0)
    layer = Linear4bit(128, 64, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    with torch.no_grad():
        layer.weight.copy_(torch.randn(64, 128, generator=generator))
    layer = layer.to(device).eval()
    keep_differentiable(layer)
    input_TH = torch.randn(5, 128, generator=generator).to(device, torch.bfloat16)
    grad_TO = torch.randn(5, 64, generator=generator).to(device, torch.bfloat16)
    with torch.no_grad():
        layer(input_TH)
        weight_OH = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    output_TO = layer(input_TH.requires_grad_())
    (found_TH,) = torch.autograd.grad(output_TO, input_TH, grad_TO)
    pairs = {
        "output": (output_TO.detach(), input_TH.detach().float() @ weight_OH.T),
        "gradient": (found_TH, grad_TO.float() @ weight_OH),
    }
    return {
        part: float((found.float() - expected).norm() / expected.norm()) for part, (found, expected) in pairs.items()
    }
