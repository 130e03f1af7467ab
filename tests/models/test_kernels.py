"""Kernels for all pieces at once: the plain one against attention piece by piece, and how one is chosen and called."""

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from haloes.models import kernels
from haloes.models.attention import packed_attention
from haloes.models.kernels import (
    Heads,
    Kernel,
    attend,
    candidates,
    choose_kernel,
    fault_of,
    first_right,
    reference_attention,
)
from haloes.models.varlen import Varlen, make_varlen
from tiny_architectures import tiny_config

CPU, META = torch.device("cpu"), torch.device("meta")
HEADS, KEY_HEADS, SIZE = 4, 2, 8
PLAIN = Kernel("plain", reference_attention)
MODULE: Any = SimpleNamespace(num_key_value_groups=HEADS // KEY_HEADS, is_causal=True)
FEW = Heads(HEADS, KEY_HEADS, SIZE)


def qkv(tokens: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    counts = (HEADS, KEY_HEADS, KEY_HEADS)
    return [torch.randn(1, n, tokens, SIZE, generator=generator).mul_(2).requires_grad_() for n in counts]


@st.composite
def layouts(draw: Callable[..., Any]) -> tuple[list[int], list[list[int]]]:
    """Pieces of which some follow the path of an earlier one."""
    lengths, prefix_pieces = [], []
    for i in range(draw(st.integers(1, 6))):
        lengths.append(draw(st.integers(1, 7)))
        parent = draw(st.integers(-1, i - 1))
        prefix_pieces.append([] if parent < 0 else [*prefix_pieces[parent], parent])
    return lengths, prefix_pieces


@settings(max_examples=60, deadline=None)
@given(layouts(), st.sampled_from([None, 1, 3, 100]), st.sampled_from([None, 0.7]))
def test_all_pieces_at_once_are_the_pieces_one_by_one(
    layout: tuple[list[int], list[list[int]]], window: int | None, scaling: float | None
):
    piece_lengths, prefix_pieces = layout
    inputs = qkv(sum(piece_lengths))
    given_layout: dict[str, Any] = {"haloes_piece_lengths": piece_lengths, "haloes_prefix_pieces": prefix_pieces}
    at_once: dict[str, Any] = {"haloes_varlen": make_varlen(piece_lengths, prefix_pieces, CPU), "haloes_kernel": PLAIN}

    one_by_one, _ = packed_attention(MODULE, *inputs, None, scaling=scaling, sliding_window=window, **given_layout)
    found, weights = packed_attention(
        MODULE, *inputs, None, scaling=scaling, sliding_window=window, **given_layout, **at_once
    )

    assert weights is None
    torch.testing.assert_close(found, one_by_one, rtol=1e-5, atol=1e-5)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(found, inputs, direction)
    for mine, want in zip(got, torch.autograd.grad(one_by_one, inputs, direction), strict=True):
        torch.testing.assert_close(mine, want, rtol=1e-4, atol=1e-4)


def refusing(*_: Any, **__: Any) -> Tensor:
    raise AssertionError("the kernel was called")


@pytest.mark.parametrize("other", [{"softcap": 2.0}, {"dropout": 0.5}], ids=str)
def test_what_kernels_do_not_know_is_computed_piece_by_piece(other: dict[str, float]):
    piece_lengths, prefix_pieces = [5, 3, 2], [[], [0], [0]]
    inputs = qkv(10)
    layout: dict[str, Any] = {"haloes_piece_lengths": piece_lengths, "haloes_prefix_pieces": prefix_pieces}
    varlen = make_varlen(piece_lengths, prefix_pieces, CPU)
    torch.manual_seed(0)
    expected, _ = packed_attention(MODULE, *inputs, None, **layout, **other)

    torch.manual_seed(0)
    found, _ = packed_attention(
        MODULE, *inputs, None, **layout, **other, haloes_varlen=varlen, haloes_kernel=Kernel("refusing", refusing)
    )

    assert torch.equal(found, expected)


def test_a_window_that_no_piece_fills_is_not_asked_for():
    asked: list[int | None] = []

    def noting(*inputs: Any, scaling: float | None, window: int | None) -> Tensor:
        asked.append(window)
        return reference_attention(*inputs, scaling=scaling, window=window)

    for window in (4, 5, 6, None):
        attend(Kernel("noting", noting), *qkv(8), make_varlen([5, 3], [[], []], CPU), scaling=None, window=window)

    assert asked == [4, None, None, None]


def top_left(q: Tensor, k: Tensor, v: Tensor, varlen: Varlen, **how: Any) -> Tensor:
    """What a kernel computes that aligns the causal mask at the top left: query i sees keys 0 to i."""
    first = torch.cat(
        [torch.arange(n) + int(begin) for n, begin in zip(varlen.queries, varlen.cu_seqlens_k, strict=False)]
    )
    return reference_attention(
        q, k[first], v[first], make_varlen(varlen.queries, [[] for _ in varlen.queries], q.device), **how
    )


def unwindowed(*inputs: Any, scaling: float | None, window: int | None) -> Tensor:
    del window
    return reference_attention(*inputs, scaling=scaling, window=None)


def no_gradient_for_keys(q: Tensor, k: Tensor, *rest: Any, **how: Any) -> Tensor:
    return reference_attention(q, k.detach() + 0 * k, *rest, **how)


def unbuilt(*_: Any, **__: Any) -> Tensor:
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nmore")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_right_kernel_proves_right(dtype: torch.dtype):
    assert fault_of(PLAIN, FEW, dtype=dtype, device=CPU) is None
    assert fault_of(Kernel("repeated", kernels.repeating(reference_attention)), FEW, dtype=dtype, device=CPU) is None


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (top_left, "wrong for shared beginnings with window None"),
        (unwindowed, "wrong for shared beginnings with window 24"),
        (no_gradient_for_keys, "wrong for shared beginnings with window None"),
        (unbuilt, "RuntimeError: FlashAttention only supports Ampere GPUs or newer."),
    ],
)
def test_a_wrong_kernel_is_found_out(run: Any, fault: str):
    found = fault_of(Kernel("wrong", run), FEW, dtype=torch.float32, device=CPU)

    assert found is not None
    assert found.startswith(fault)


def test_the_first_kernel_that_proves_right_is_taken():
    wrong, broken = Kernel("a", top_left), Kernel("b", unbuilt)

    assert first_right([wrong, broken, PLAIN], FEW, dtype=torch.float32, device=CPU) == (PLAIN, None)
    kernel, because = first_right([wrong, broken], FEW, dtype=torch.float32, device=CPU)
    assert kernel is None
    assert because is not None
    assert "a: wrong for shared beginnings" in because
    assert "b: RuntimeError: FlashAttention only supports" in because


def test_repeated_key_heads_serve_a_kernel_that_cannot_group_them():
    def ungrouped(q: Tensor, k: Tensor, *rest: Any, **how: Any) -> Tensor:
        if q.shape[1] != k.shape[1]:
            raise ValueError("heads differ")
        return reference_attention(q, k, *rest, **how)

    alone, repeated = Kernel("alone", ungrouped), Kernel("repeated", kernels.repeating(ungrouped))

    assert first_right([alone, repeated], FEW, dtype=torch.float32, device=CPU) == (repeated, None)


def test_a_cpu_needs_no_kernel_and_nothing_is_said():
    config = SimpleNamespace(num_attention_heads=4, hidden_size=32)

    assert choose_kernel(config, dtype=torch.bfloat16, device=CPU) == (None, None)


@pytest.mark.parametrize(
    ("fields", "dtype", "capability", "because"),
    [
        ({"attn_logit_softcapping": 50.0}, torch.bfloat16, (9, 0), "soft-capped"),
        ({"num_attention_heads": None}, torch.bfloat16, (9, 0), "how many attention heads"),
        ({}, torch.float32, (9, 0), "model.dtype is torch.float32"),
        ({"head_dim": 512}, torch.bfloat16, (9, 0), "these have 512"),
        ({"head_dim": None, "hidden_size": 52}, torch.bfloat16, (9, 0), "by 8s, and these have 13"),
        ({}, torch.bfloat16, (7, 5), "Ampere generation or later, not Tesla T4"),
    ],
)
def test_what_kernels_cannot_take_is_said(
    fields: dict[str, Any],
    dtype: torch.dtype,
    capability: tuple[int, int],
    because: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    config = SimpleNamespace(**{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64} | fields)

    kernel, reason = choose_kernel(config, dtype=dtype, device=torch.device("cuda"))

    assert kernel is None
    assert reason is not None
    assert because in reason


def test_the_heads_of_the_model_are_tried(monkeypatch: pytest.MonkeyPatch):
    tried: list[Heads] = []

    def noting(found: Any, heads: Heads, **_: Any) -> tuple[Kernel, None]:
        del found
        tried.append(heads)
        return PLAIN, None

    monkeypatch.setattr(kernels, "first_right", noting)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    config = SimpleNamespace(num_attention_heads=32, num_key_value_heads=8, hidden_size=4096, head_dim=None)

    found = choose_kernel(config, dtype=torch.bfloat16, device=torch.device("cuda"))

    assert found == (PLAIN, None)
    assert tried == [Heads(32, 8, 128)]


def as_torch_varlen(q: Tensor, k: Tensor, v: Tensor, *ends: Any, scale: float | None, window_size: Any) -> Tensor:
    """`varlen_attn` as its documentation has it: windows of tokens to the left and right of the query's own place."""
    cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k = ends
    queries, keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert (max_seqlen_q, max_seqlen_k) == (max(queries), max(keys))
    assert window_size[1] == 0
    varlen = Varlen(None, cu_seqlens_q, cu_seqlens_k, queries, keys)
    window = None if window_size[0] < 0 else window_size[0] + 1
    return reference_attention(q, k, v, varlen, scaling=scale, window=window)


def as_flash_attn(*arguments: Any, softmax_scale: float | None, causal: bool, window_size: Any) -> Tensor:
    assert causal
    return as_torch_varlen(*arguments, scale=softmax_scale, window_size=window_size)


@pytest.mark.parametrize(
    "run", [partial(kernels._torch_varlen, as_torch_varlen), partial(kernels._flash_attn, as_flash_attn)]
)
def test_kernels_are_called_as_their_documentation_says(run: Any):
    assert fault_of(Kernel("documented", run), FEW, dtype=torch.float32, device=CPU) is None


def test_torch_takes_the_call_as_it_is_made():
    # On the meta device the real function runs without a GPU, as far as names, numbers and shapes of arguments go.
    piece_lengths, prefix_pieces = [16, 4, 8], [[], [0], [0]]
    q, k, v = (torch.empty(1, n, 28, 64, device=META, dtype=torch.bfloat16) for n in (8, 2, 2))
    varlen = make_varlen(piece_lengths, prefix_pieces, META)

    for kernel in candidates():
        for window in (None, 5):
            found = attend(kernel, q, k, v, varlen, scaling=0.1, window=window)
            assert (found.shape, found.dtype) == ((1, 28, 8, 64), torch.bfloat16)


def test_flash_attn_takes_the_call_as_it_is_made():
    flash_attn = pytest.importorskip("flash_attn", reason="flash-attn is not installed")
    parameters = inspect.signature(flash_attn.flash_attn_varlen_func).parameters

    assert {"softmax_scale", "causal", "window_size"} <= parameters.keys()


def test_heads_whose_sizes_differ_between_layers_are_told_and_no_error():
    config = tiny_config("gemma4_text", global_head_dim=16)

    why = kernels._unsuitable(config, torch.bfloat16, torch.device("cpu"))

    assert why == "the kernels take heads of one size, and those of this model's layers differ"
