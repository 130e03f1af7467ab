"""
Attention over packed sequences, each on its own, registered with transformers under one name.

transformers hands extra keyword arguments of a model's call down to its attention function, so the layout needs neither
global state nor a patched model. A call without a layout (sampling, a padded forward) behaves as the "sdpa" attention.
On the CPU one causal call per sequence is about three times faster than one masked call over all of them (design/003);
on a GPU one call of a kernel for sequences of different lengths computes them all (`haloes.models.kernels`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from haloes.models.kernels import Kernel, attend
from haloes.models.prefix_cache import PrefixCache
from haloes.models.varlen import Varlen

NAME = "haloes_packed"


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    haloes_piece_lengths: list[int] | None = None,
    haloes_prefix_pieces: list[list[int]] | None = None,
    haloes_varlen: Varlen | None = None,
    haloes_kernel: Kernel | None = None,
    haloes_prefix_cache: PrefixCache | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """
    Compute causal attention of each piece to itself and to the pieces before it in its sequence.

    Args:
        module: the attention layer; only read.
        query: (1, heads, T, head size); `key` and `value` may have fewer heads.
        key: (1, key heads, T, head size).
        value: (1, key heads, T, head size).
        attention_mask: ignored for a packed layout.
        scaling: factor of the scores before the softmax; None for 1/sqrt(head size).
        dropout: probability with which an attention weight is dropped.
        sliding_window: a token sees itself and this many minus one before it; None for all before it.
        softcap: scores s become softcap * tanh(s / softcap), as in Gemma 2.
        haloes_piece_lengths: tokens of each piece; None for a call that is not packed.
        haloes_prefix_pieces: for each piece those before it in its sequence; see `haloes.models.layout.Packed`.
        haloes_varlen: the same two, for the kernel.
        haloes_kernel: computes all pieces at once; None for one call a piece, and so with dropout and a softcap, which
            kernels do not know.
        haloes_prefix_cache: takes this layer's keys and values, or gives those that the pieces continue.
        kwargs: handed on for a call that is not packed.

    Returns:
        (1, T, heads, head size), and no attention weights.
    """
    if haloes_piece_lengths is None and softcap is not None:
        # Generation with a model that is set up for packing still has to cap its scores, which "sdpa" cannot.
        mask = _mask_left_out(query, key) if attention_mask is None else attention_mask
        output = _capped(query, key, value, mask=mask, scaling=scaling, softcap=softcap, dropout=dropout)
        return output.transpose(1, 2).contiguous(), None
    if haloes_piece_lengths is None:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if haloes_prefix_cache is not None:
        # Before any split: what continues sees the cached keys as if they stood in front of its own layout.
        key, value = haloes_prefix_cache.extend(module, key, value)
    # One call for all pieces, unless this layer asks for something that the kernels do not know.
    if haloes_kernel is not None and haloes_varlen is not None and softcap is None and dropout == 0:
        window = sliding_window
        return attend(haloes_kernel, query, key, value, haloes_varlen, scaling=scaling, window=window), None
    if haloes_prefix_cache is not None and haloes_prefix_cache.continues and haloes_varlen is not None:
        # A prompt ends within a cached piece, where another completion follows: single keys are picked, not pieces.
        keys, values = _seen(key, haloes_varlen), _seen(value, haloes_varlen)
    else:
        paths = [[*path, i] for i, path in enumerate(haloes_prefix_pieces or [[] for _ in haloes_piece_lengths])]
        keys, values = (_joined(torch.split(x, haloes_piece_lengths, dim=2), paths) for x in (key, value))
    outputs = [
        _one_piece(*piece, scaling=scaling, dropout=dropout, window=sliding_window, softcap=softcap)
        for piece in zip(torch.split(query, haloes_piece_lengths, dim=2), keys, values, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _joined(pieces: tuple[Tensor, ...], paths: list[list[int]]) -> list[Tensor]:
    """Return the keys (or values) of each piece's path end to end, (1, heads, keys, head size) a piece."""
    return [pieces[path[0]] if len(path) == 1 else torch.cat([pieces[i] for i in path], dim=2) for path in paths]


def _seen(keys: Tensor, varlen: Varlen) -> list[Tensor]:
    """Gather the single keys (or values) that each piece sees, (1, heads, keys, head size) a piece."""
    gathered = keys if varlen.key_K is None else keys.index_select(2, varlen.key_K)
    return list(torch.split(gathered, varlen.keys, dim=2))


def _one_piece(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float | None,
    dropout: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Compute the attention of one piece, (1, heads, queries, head size); its queries are the last of its keys."""
    queries, keys = query.shape[2], key.shape[2]
    if softcap is not None:
        mask = _mask(query, keys, window)
        return _capped(query, key, value, mask=mask, scaling=scaling, softcap=softcap, dropout=dropout)
    # torch aligns a causal mask at the top left: that is right for whole sequences only. Without a mask tensor it takes
    # its fast path, so that one is made just where keys of other pieces or a window ask for it.
    causal = queries == keys and (window is None or keys <= window)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if causal else _mask(query, keys, window),
        is_causal=causal,
        scale=scaling,
        dropout_p=dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _mask(query: Tensor, keys: int, window: int | None) -> Tensor:
    """
    Return where a query may look, (queries, keys): at itself and at up to `window` - 1 tokens before it.

    The queries are the last of the keys.
    """
    queries = query.shape[2]
    position = torch.arange(keys, device=query.device)
    distance = position[keys - queries :, None] - position[None, :]
    return (distance >= 0) & (distance < (window or keys))


def _mask_left_out(query: Tensor, key: Tensor) -> Tensor:
    """Return the mask that transformers means by none: a single query sees all keys, several are causal."""
    queries, keys = query.shape[2], key.shape[2]
    mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
    return mask if queries == 1 else mask.tril()


def _capped(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor, scaling: float | None, softcap: float, dropout: float
) -> Tensor:
    """Compute attention with scores capped by tanh before the softmax, (1, heads, queries, head size)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.tanh(query @ key.transpose(2, 3) * scale / softcap) * softcap
    # Not -inf: the rows of padding, which see nothing, would become NaN and spread from there.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    # The softmax in float32 as transformers' own eager attention has it, so that log-probabilities agree with it.
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.nn.functional.dropout(weights, dropout) @ value


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
