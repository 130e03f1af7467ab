"""
Attention of all pieces of a packed layout in one call, where the machine has a kernel for it that proves right.

Candidates, in this order: `torch.nn.attention.varlen.varlen_attn` (its flash attention), then flash-attn where it is
installed. Each is tried at set-up with the model's own heads, on pieces with and without shared beginnings, values and
gradients against `reference_attention`: whether a causal mask of fewer queries than keys is aligned at the top left or
at the bottom right, and which head sizes and dtypes a kernel takes, changed between versions. Without a kernel
attention runs piece by piece (`haloes.models.attention`).

Shape suffixes: T queries of all pieces, K keys of all pieces, N heads, M key heads, D head size.
"""

import importlib.util
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from haloes.models.varlen import Varlen, make_varlen

_HALF = (torch.bfloat16, torch.float16)
_LARGEST, _MULTIPLE = 256, 8
_AMPERE = (8, 0)
_PIECES: list[int] = [40, 17, 9, 150, 1, 33]
_PREFIXES: list[list[int]] = [[], [0], [0], [], [0, 2], [0, 2]]
_WINDOW = 24
_CLOSE = 0.03


@dataclass(frozen=True, slots=True)
class Heads:
    """The attention heads of a model."""

    queries: int
    keys: int
    """Fewer where groups of query heads share one."""
    size: int


class AttentionFn(Protocol):
    """Computes the attention of all pieces at once."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, /, *, scaling: float | None, window: int | None
    ) -> Tensor:
        """Return (T, N, D) from (T, N, D) queries and (K, M, D) keys and values."""
        ...


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way to compute attention of all pieces at once."""

    name: str
    run: AttentionFn


def attend(
    kernel: Kernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    varlen: Varlen,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """
    Compute attention in the layout of transformers, from (1, heads, T, head size) each to (1, T, heads, head size).

    Args:
        kernel: what computes it.
        query: queries of all pieces, one after the other.
        key: keys of all pieces; there may be fewer heads.
        value: values of all pieces, with as many heads as the keys.
        varlen: which keys each piece sees.
        scaling: factor of the attention scores; None for 1/sqrt(head size).
        window: a token sees itself and this many minus one before it; None for all before it.
    """
    query_TND, key_TMD, value_TMD = (x[0].transpose(0, 1) for x in (query, key, value))
    if varlen.key_K is not None:
        key_TMD, value_TMD = key_TMD.index_select(0, varlen.key_K), value_TMD.index_select(0, varlen.key_K)
    # A window that no piece fills hides nothing, and some kernels have a slower path for windows.
    seen = None if window is None or window >= varlen.max_seqlen_k else window
    return kernel.run(query_TND, key_TMD, value_TMD, varlen, scaling=scaling, window=seen)[None]


def reference_attention(
    query_TND: Tensor,
    key_KMD: Tensor,
    value_KMD: Tensor,
    varlen: Varlen,
    /,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """Compute what every kernel must give, (T, N, D), piece by piece in plain torch and in float32."""
    groups = query_TND.shape[1] // key_KMD.shape[1]
    scale = query_TND.shape[-1] ** -0.5 if scaling is None else scaling
    outputs = []
    for query, key, value in zip(
        torch.split(query_TND, varlen.queries),
        torch.split(key_KMD, varlen.keys),
        torch.split(value_KMD, varlen.keys),
        strict=True,
    ):
        key_NKD, value_NKD = (x.repeat_interleave(groups, dim=1).transpose(0, 1).float() for x in (key, value))
        scores = query.transpose(0, 1).float() @ key_NKD.transpose(1, 2) * scale
        # The queries are the last of the keys: the causal mask is aligned at the bottom right.
        position = torch.arange(len(key), device=key.device)
        distance = position[len(key) - len(query) :, None] - position
        hidden = (distance < 0) | (distance >= (window or len(key) + 1))
        weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        outputs.append((weights @ value_NKD).transpose(0, 1))
    return torch.cat(outputs).to(query_TND.dtype)


def choose_kernel(config: Any, *, dtype: torch.dtype, device: torch.device) -> tuple[Kernel | None, str | None]:
    """
    Return the first kernel that proves right for a model's heads.

    Args:
        config: configuration of the transformers model (its text part).
        dtype: what it computes in.
        device: where it computes.

    Returns:
        The kernel and None; or None and why there is none, to be told to the user. On a CPU there is none and nothing
        to be told: one call a piece is the fastest there is.
    """
    if device.type != "cuda":
        return None, None
    reason = _unsuitable(config, dtype, device)
    if reason is not None:
        return None, reason
    return first_right(candidates(), _heads(config), dtype=dtype, device=device)


def first_right(
    kernels: Sequence[Kernel], heads: Heads, *, dtype: torch.dtype, device: torch.device
) -> tuple[Kernel | None, str | None]:
    """Return the first of these kernels that proves right, and None; or None and what is wrong with each."""
    reasons = []
    for kernel in kernels:
        fault = fault_of(kernel, heads, dtype=dtype, device=device)
        if fault is None:
            return kernel, None
        reasons.append(f"{kernel.name}: {fault}")
    return None, "; ".join(reasons)


def candidates() -> list[Kernel]:
    """Return the kernels that are installed, best first."""
    from torch.nn.attention.varlen import varlen_attn

    # torch 2.11 groups heads without being told to; later versions want it said.
    grouping: Any = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
    torch_varlen = partial(_torch_varlen, partial(varlen_attn, **grouping))
    found = [
        Kernel("torch varlen_attn", torch_varlen),
        Kernel("torch varlen_attn, key heads repeated", repeating(torch_varlen)),
    ]
    if importlib.util.find_spec("flash_attn") is not None:
        try:
            from flash_attn import flash_attn_varlen_func
        except (ImportError, OSError):  # built for another torch
            return found
        found.append(Kernel("flash-attn", partial(_flash_attn, flash_attn_varlen_func)))
    return found


def repeating(run: AttentionFn) -> AttentionFn:
    """Wrap a kernel that cannot group heads: give it as many key heads as query heads, at the cost of memory."""

    def repeated(
        query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, /, *, scaling: float | None, window: int | None
    ) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return run(query, key, value, varlen, scaling=scaling, window=window)

    return repeated


def fault_of(kernel: Kernel, heads: Heads, *, dtype: torch.dtype, device: torch.device) -> str | None:
    """Return what is wrong with a kernel for these heads, from trying it; None when values and gradients are right."""
    generator = torch.Generator().manual_seed(0)
    counts, tokens = (heads.queries, heads.keys, heads.keys, heads.queries), sum(_PIECES)
    # Random numbers of the CPU's generator, so that every device tries the same.
    drawn = [torch.randn(1, n, tokens, heads.size, generator=generator).to(device, dtype) for n in counts]
    direction = drawn.pop().transpose(1, 2)
    inputs = [x.requires_grad_() for x in drawn]
    exact = replace(kernel, run=reference_attention)
    alone: list[list[int]] = [[] for _ in _PIECES]
    # Each mistake that a version has made shows in one of these four: a mask aligned at the top left only where queries
    # are fewer than keys, a window off by one only where there is one.
    for prefix_pieces in (_PREFIXES, alone):
        varlen = make_varlen(_PIECES, prefix_pieces, device)
        for window in (None, _WINDOW):
            try:
                found, true = (_tried(k, inputs, direction, varlen, window) for k in (kernel, exact))
            except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
                return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
            off = max(_error(mine, right) for mine, right in zip(found, true, strict=True))
            if not off < _CLOSE:
                what = "shared beginnings" if any(prefix_pieces) else "whole sequences"
                return f"wrong for {what} with window {window} (relative error {off:.2g})"
    return None


def _unsuitable(config: Any, dtype: torch.dtype, device: torch.device) -> str | None:  # noqa: PLR0911 - a reason each
    """Return why no kernel can take a model; None where one may."""
    if getattr(config, "attn_logit_softcapping", None):
        return "the model's attention is soft-capped, which the kernels do not know"
    if not isinstance(getattr(config, "num_attention_heads", None), int):
        return "the model's configuration does not say how many attention heads it has"
    if dtype not in _HALF:
        return f"the kernels compute in bfloat16 or float16, and model.dtype is {dtype}"
    try:
        size = _heads(config).size
    except RuntimeError:  # transformers names no size for all layers where they differ (Gemma 4)
        return "the kernels take heads of one size, and those of this model's layers differ"
    if size % _MULTIPLE or size > _LARGEST:
        return f"the kernels take heads of up to {_LARGEST} numbers, by {_MULTIPLE}s, and these have {size}"
    if torch.cuda.get_device_capability(device) < _AMPERE:
        return f"the kernels need a GPU of the Ampere generation or later, not {torch.cuda.get_device_name(device)}"
    return None


def _heads(config: Any) -> Heads:
    """Return the heads that a config describes; by default as many key heads as query heads, of equal shares."""
    count: int = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // count
    return Heads(count, getattr(config, "num_key_value_heads", None) or count, size)


def _torch_varlen(
    varlen_attn: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    varlen: Varlen,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    # Its window counts the tokens before a token without the token itself; 0 on the right makes it causal.
    found: Tensor = varlen_attn(
        query,
        key,
        value,
        varlen.cu_seqlens_q,
        varlen.cu_seqlens_k,
        varlen.max_seqlen_q,
        varlen.max_seqlen_k,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
    )
    return found


def _flash_attn(
    flash_attn_varlen_func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    varlen: Varlen,
    *,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    found: Tensor = flash_attn_varlen_func(
        query,
        key,
        value,
        varlen.cu_seqlens_q,
        varlen.cu_seqlens_k,
        varlen.max_seqlen_q,
        varlen.max_seqlen_k,
        softmax_scale=scaling,
        causal=True,
        window_size=(-1 if window is None else window - 1, 0),
    )
    return found


def _tried(
    kernel: Kernel, inputs: Sequence[Tensor], direction: Tensor, varlen: Varlen, window: int | None
) -> list[Tensor]:
    """Return the output and the gradients of queries, keys and values."""
    query, key, value = inputs
    output = attend(kernel, query, key, value, varlen, scaling=None, window=window)
    return [output.detach(), *torch.autograd.grad(output, inputs, direction)]


def _error(found: Tensor, true: Tensor) -> float:
    """Return the norm of the difference as a part of the true norm."""
    return float((found.float() - true.float()).norm() / true.float().norm())
