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
    """The keys that the queries of each piece see; computed once a layout, and used by every layer."""

    key_K: Tensor | None
    """Indices of the K keys among the T tokens, int64; None where nothing is shared: they are the T tokens in order."""
    cu_seqlens_q: Tensor
    """Starts of each piece's queries among the T tokens, and T, (P + 1,) int32."""
    cu_seqlens_k: Tensor
    """Starts of each piece's keys among the K keys, and K, (P + 1,) int32."""
    queries: list[int]
    """Queries of each piece."""
    keys: list[int]
    """Keys that each piece sees."""

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
