"""Liger's layer kernels, with a stand-in for its package: what is asked of it, and what is refused."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from fakes import tiny_model
from haloes.errors import ConfigError, ModelError
from haloes.models.liger import apply_liger, check_liger

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stand-in that notes what it is asked for and knows llama models."""
    asked: list[dict[str, Any]] = []
    package, transformers = ModuleType("liger_kernel"), ModuleType("liger_kernel.transformers")
    patch = ModuleType("liger_kernel.transformers.monkey_patch")
    transformers._apply_liger_kernel_to_instance = lambda **given: asked.append(given)  # type: ignore[attr-defined]
    patch.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None, "qwen2": None}  # type: ignore[attr-defined]
    for module in (package, transformers, patch):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def test_layers_are_asked_for_and_losses_are_not(liger: list[dict[str, Any]]):
    model = tiny_model("llama")

    apply_liger(model)

    [asked] = liger
    assert asked.pop("model") is model
    assert {name for name, wanted in asked.items() if wanted} >= {"rope", "rms_norm", "swiglu"}
    assert {name for name, wanted in asked.items() if not wanted} == {"cross_entropy", "fused_linear_cross_entropy"}


def test_an_architecture_that_liger_does_not_know_is_refused(liger: list[dict[str, Any]]):
    with pytest.raises(ConfigError, match=r"no kernels for gpt2 models \(it has them for llama, qwen2\)"):
        apply_liger(tiny_model("gpt2"))

    assert liger == []


def test_kernels_that_compute_something_else_are_refused(liger: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    del liger
    wrong = sys.modules["liger_kernel.transformers"]
    monkeypatch.setattr(
        wrong, "_apply_liger_kernel_to_instance", lambda model, **_: model.model.norm.weight.data.mul_(2)
    )

    with pytest.raises(ModelError, match=r"LlamaForCausalLM differ by [0-9.]+ nats"):
        apply_liger(tiny_model("llama"))


def test_without_a_gpu_it_is_refused(liger: list[dict[str, Any]]):
    del liger
    with pytest.raises(ConfigError, match=r"model\.liger: its kernels run on a GPU, and this run computes on cpu"):
        check_liger(CPU)


def test_without_the_package_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "liger_kernel", None)

    with pytest.raises(ConfigError, match=r"needs liger-kernel .*: pip install 'haloes\[liger\]'"):
        check_liger(GPU)


def test_with_a_gpu_and_the_package_it_is_fine(liger: list[dict[str, Any]]):
    check_liger(GPU)

    assert liger == []
