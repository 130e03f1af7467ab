"""
Cumulative sequence lengths of a packed layout, in the form of kernels for attention over variable lengths.

A piece's queries see the pieces before it in its sequence and then, up to themselves, its own tokens. So the keys of a
piece are those pieces end to end, its queries are the last of them, and a causal mask is aligned at the bottom right.

Shape suffixes: T tokens of all pieces, K keys of all pieces (a shared beginning once for every piece that sees it),
P pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from haloes.models.device import to_device


@dataclass(frozen=True, slots=True)
class Varlen:
    """Which keys the queries of each piece see; computed once a layout, and used by every layer."""

    key_K: Tensor | None
    """Which of the T tokens each key is, int64; None where they are the T tokens as they stand (nothing is shared)."""
    cu_seqlens_q: Tensor
    """Where among the T tokens each piece's queries begin, and T, (P + 1,) int32."""
    cu_seqlens_k: Tensor
    """Where among the K keys each piece's keys begin, and K, (P + 1,) int32."""
    queries: list[int]
    """How many queries each piece has."""
    keys: list[int]
    """How many keys each piece sees."""

    @property
    def max_seqlen_q(self) -> int:
        """Return the most queries of any piece."""
        return max(self.queries, default=0)

    @property
    def max_seqlen_k(self) -> int:
        """Return the most keys of any piece."""
        return max(self.keys, default=0)


def make_varlen(piece_lengths: Sequence[int], prefix_pieces: Sequence[Sequence[int]], device: torch.device) -> Varlen:
    """
    Return the lengths of a layout's queries and keys.

    Args:
        piece_lengths: tokens of each piece.
        prefix_pieces: for each piece those before it in its sequence, from the first on.
        device: where the tensors shall live.
    """
    paths = [[*path, i] for i, path in enumerate(prefix_pieces)]
    keys = [sum(piece_lengths[k] for k in path) for path in paths]
    ends = np.cumsum([0, *piece_lengths])
    # A kernel takes the keys of each piece end to end: those of a shared beginning once for every piece that sees them.
    gathered = [np.arange(ends[k], ends[k + 1]) for path in paths for k in path]
    return Varlen(
        # Without a shared beginning that is the layout itself, and no layer need gather anything.
        key_K=to_device(np.concatenate(gathered), device) if any(prefix_pieces) else None,
        cu_seqlens_q=to_device(ends.astype(np.int32), device),
        cu_seqlens_k=to_device(np.cumsum([0, *keys]).astype(np.int32), device),
        queries=list(piece_lengths),
        keys=keys,
    )
