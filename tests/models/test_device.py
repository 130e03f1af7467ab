"""What to compute in: the dtype that is named, or the one that the processor has fast products in."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from haloes.models import device as dtype
from haloes.models.device import choose_dtype, has_fast_bfloat16

CPU = torch.device("cpu")
ZEN4 = {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}
HASWELL = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}
GRAVITON3 = {"architecture": "aarch64", "neon": True, "bf16": True}
GRAVITON2 = {"architecture": "aarch64", "neon": True, "bf16": False}


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions are not lowered, unless a test lowers them."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


def on(processor: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch say that this is the processor."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)


@pytest.mark.parametrize("fast", [False, True])
def test_a_named_dtype_is_taken_whatever_the_processor_has(fast: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dtype, "has_fast_bfloat16", lambda: fast)

    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(("fast", "expected"), [(False, torch.float32), (True, torch.bfloat16)])
def test_auto_is_bfloat16_where_the_processor_is_fast_in_it(
    fast: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dtype, "has_fast_bfloat16", lambda: fast)

    assert choose_dtype("auto", CPU) == expected


def test_auto_is_float32_on_a_device_of_which_nothing_is_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dtype, "has_fast_bfloat16", lambda: True)

    assert choose_dtype("auto", torch.device("mps")) == torch.float32


@pytest.mark.parametrize(
    ("processor", "fast"),
    [
        (ZEN4, True),
        ({**ZEN4, "amx_bf16": True}, True),
        (HASWELL, False),
        (GRAVITON3, True),
        (GRAVITON2, False),
        ({"architecture": "riscv64"}, False),
    ],
)
def test_the_processors_instructions_decide_and_no_stopwatch(
    processor: Mapping[str, Any], fast: bool, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: Any, **__: Any) -> float:
        raise AssertionError("timed")

    on(processor, monkeypatch)
    monkeypatch.setattr(dtype, "product_rate", never)
    monkeypatch.setattr(torch, "mm", never)

    assert {has_fast_bfloat16() for _ in range(3)} == {fast}


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "fast"),
    [
        ("AVX2", False),
        ("AVX512_CORE", False),
        ("avx512_core_vnni", False),
        ("AVX512_CORE_BF16", True),
        ("AVX512_CORE_AMX", True),
        ("DEFAULT", True),
        ("", True),
    ],
)
def test_a_lowered_instruction_set_counts(name: str, limit: str, fast: bool, monkeypatch: pytest.MonkeyPatch):
    on(ZEN4, monkeypatch)
    monkeypatch.setenv(name, limit)

    assert has_fast_bfloat16() == fast


def test_without_onednn_bfloat16_is_not_fast(monkeypatch: pytest.MonkeyPatch):
    on(ZEN4, monkeypatch)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)

    assert not has_fast_bfloat16()


def test_torch_still_says_what_is_asked_for():
    told = torch.cpu.get_capabilities()

    # A name that torch no longer knew would read as "unknown", and so as float32 everywhere.
    assert told["architecture"] != "x86_64" or {"avx512_bf16", "amx_bf16"} <= set(told)
