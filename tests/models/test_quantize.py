"""Four bits: what is refused without bitsandbytes, and what a model in four bits computes with it."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, ModelError
from haloes.models.adapters import LoRA
from haloes.models.layout import make_packed
from haloes.models.load import load_model
from haloes.models.policy import make_policy
from haloes.models.quantize import check_quantization
from tiny_runs import save_model

CPU = torch.device("cpu")


def test_without_bitsandbytes_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.delitem(sys.modules, "bitsandbytes.nn", raising=False)

    with pytest.raises(ConfigError, match=r"is 4bit, which needs bitsandbytes .*haloes\[bitsandbytes\]"):
        check_quantization(CPU)


def test_a_device_that_cannot_compute_in_it_is_refused():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")

    with pytest.raises(ConfigError, match=r"bitsandbytes cannot compute in it on meta .*leave model\.quantize out"):
        check_quantization(torch.device("meta"))


def test_a_processor_whose_four_bit_kernel_has_a_wrong_gradient_is_refused(monkeypatch: pytest.MonkeyPatch):
    functions = pytest.importorskip("bitsandbytes.autograd._functions", reason="bitsandbytes is not installed")

    # A stand-in for a kernel made for inference: the right output, and the gradient of another product.
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, *_: Any) -> torch.Tensor:
            return inputs @ functions.F.dequantize_4bit(weight, _[-1]).to(inputs.dtype).T

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            return torch.zeros(5, 128, dtype=grad.dtype), None, None, None, None

    monkeypatch.setattr(functions, "MatMul4Bit", Wrong)

    with pytest.raises(ConfigError, match=r"the gradient that bitsandbytes computes on cpu differs .* by 100%"):
        check_quantization(CPU)


def test_no_layer_of_a_loaded_model_takes_the_kernel_for_inference_where_the_processor_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    modules = pytest.importorskip("bitsandbytes.nn.modules", reason="bitsandbytes is not installed")
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)  # as a layer asks when it is made, on any processor
    place = save_model(tmp_path / "model", hidden_size=64, intermediate_size=64, head_dim=16)

    loaded = load_model(str(place), dtype=torch.bfloat16, device=CPU, four_bits=True).model

    assert modules.Linear4bit(64, 64).support_avx512bf16_for_cpu
    layers = [module for module in loaded.modules() if isinstance(module, modules.Linear4bit)]
    assert len(layers) == 2 * 7
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


@pytest.mark.parametrize("reference_pass", [False, True], ids=["at once", "after a reference pass"])
def test_gradients_through_four_bits_are_those_of_the_dequantised_weights(reference_pass: bool, tmp_path: Path):
    bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    place = save_model(tmp_path / "model", hidden_size=64, intermediate_size=64, head_dim=16)
    loaded = load_model(str(place), dtype=torch.bfloat16, device=CPU, four_bits=True).model
    layers = [module for module in loaded.modules() if isinstance(module, bnb.nn.Linear4bit)]
    ids = torch.arange(5, 25)[None]
    if reference_pass:
        with torch.no_grad():
            loaded(ids)  # as a reference is scored: in eval mode and without gradient
    assert not any(getattr(layer.weight.quant_state, "packing_format_for_cpu", False) for layer in layers)
    embedded = loaded.get_input_embeddings()(ids).detach().requires_grad_()
    loaded(inputs_embeds=embedded).logits.float().logsumexp(-1).sum().backward()

    for layer in layers:
        layer.forward = partial(plain_product, layer, bnb.functional.dequantize_4bit)
    expected = embedded.detach().clone().requires_grad_()
    loaded(inputs_embeds=expected).logits.float().logsumexp(-1).sum().backward()
    assert embedded.grad is not None
    assert expected.grad is not None
    difference = (embedded.grad - expected.grad).float().norm() / expected.grad.float().norm()
    assert float(difference) < 0.05


def plain_product(layer: Any, dequantize: Any, inputs: torch.Tensor) -> torch.Tensor:
    return inputs @ dequantize(layer.weight.data, layer.weight.quant_state).to(inputs.dtype).T


def test_an_adapter_cannot_be_merged_in_four_bits(tmp_path: Path):
    save_model(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")

    with pytest.raises(ModelError, match=r"an adapter is merged into its base .* cannot be done in four bits"):
        load_model(str(tmp_path / "adapter"), dtype=torch.float32, device=CPU, four_bits=True)


def test_a_policy_in_four_bits_starts_as_its_reference_and_learns(tmp_path: Path):
    bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    check_quantization(CPU)
    place = save_model(tmp_path / "model", hidden_size=64, intermediate_size=64, head_dim=16)
    whole = load_model(str(place), dtype=torch.bfloat16, device=CPU).model
    loaded = load_model(str(place), dtype=torch.bfloat16, device=CPU, four_bits=True).model
    linear = [module for module in loaded.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(linear) == 2 * 7
    assert isinstance(loaded.get_output_embeddings(), torch.nn.Linear)
    ids = np.arange(40, dtype=np.int32) + 5
    packed = make_packed([(ids[:5], ids[5:], ids[5:] >= 0), (ids[:5], ids[9:], ids[9:] >= 0)], CPU)

    policy = make_policy(loaded, lora=LoRA(rank=4), reference=True, seed=0)
    plain = make_policy(whole, lora=None, reference=False, seed=0)

    assert policy.unpacked_because is None
    with torch.no_grad():
        start, unrounded = policy.token_logps(packed), plain.token_logps(packed)
    assert torch.equal(start, policy.reference_logps(packed))
    # Four bits are coarse, and still most of the model is there.
    assert float(torch.corrcoef(torch.stack([start, unrounded]))[0, 1]) > 0.7
    policy.token_logps(packed).sum().backward()
    trainable = policy.trainable()
    assert all("lora_" in name for name in trainable)
    assert max(float(p.grad.abs().max()) for p in trainable.values() if p.grad is not None) > 0
