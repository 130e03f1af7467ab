"""Four bits: what is refused without bitsandbytes, and what a model in four bits computes with it."""

import sys
from pathlib import Path

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
