"""
Keys and values of a forward pass, kept so that other completions of the same prompts need not compute them again.

KTO's mismatched completions y' stand under the prompts of the very rows whose gradient is taken. Where a step goes
through the model at once, the forward pass of (x, y) leaves the keys and values of x in every layer, and (x, y') costs
no more than y'. They are cut off from the autograd graph.

Shape suffixes: T tokens of a layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.models.device import to_device
from haloes.models.layout import Ids, Packed
from haloes.models.varlen import Varlen


@dataclass(slots=True)
class PrefixCache:
    """Keys and values of every attention layer, each (1, key heads, T, head size)."""

    layers: dict[int, tuple[Tensor, Tensor]] | None = field(default_factory=dict)
    """By the layer's identity; None once they are cleared."""
    continues: bool = False
    """True: the next pass through the model continues the cache; False: it fills the cache."""

    def extend(self, layer: torch.nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values that a layer's attention sees: its own, behind the cached ones if it continues."""
        if self.layers is None:  # a layer that is computed again in the backward pass
            return key, value
        if not self.continues:
            # Detached: the mismatched completions set a reference point, through which no gradient flows.
            self.layers[id(layer)] = key.detach(), value.detach()
            return key, value
        before = self.layers[id(layer)]
        return torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)

    def clear(self) -> None:
        """Release the memory; from now on nothing is kept or continued."""
        self.layers, self.continues = None, False


def make_continued(
    packed: Packed, sequences: Sequence[tuple[Ids, Ids, NDArray[np.bool_]]], device: torch.device
) -> Packed:
    """
    Lay out other completions of a layout's prompts, to go through the model after it.

    Args:
        packed: the layout whose keys and values are cached.
        sequences: for each of its sequences the same prompt, another completion, and which of its tokens are trained.
        device: where the tensors shall live.

    Returns:
        A layout of its own whose pieces are the last token of each prompt with the completion, and whose `varlen` says
        which of the cached and of its own keys each piece sees.
    """
    starts = np.cumsum([0, *packed.piece_lengths])
    lengths = [max(len(prompt) + len(completion) - 1 - _cached(prompt), 0) for prompt, completion, _ in sequences]
    ends = np.cumsum([0, *lengths])
    ids, positions, seen, predictors, targets = [], [], [], [], []
    for i, (prompt, completion, trained) in enumerate(sequences):
        whole, cached = np.concatenate([prompt, completion]), _cached(prompt)
        # The prompt's keys lie in the pieces of its path; in the last one its own completion follows them.
        leaf = packed.last_piece[i]
        path_T = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in [*packed.prefix_pieces[leaf], leaf]])
        ids.append(whole[cached:-1])
        positions.append(np.arange(cached, max(len(whole) - 1, cached)))
        # Its own keys stand after all cached ones, as `PrefixCache.extend` puts them.
        seen.append(np.concatenate([path_T[:cached], packed.num_tokens + np.arange(ends[i], ends[i + 1])]))
        where = np.flatnonzero(trained) + len(prompt)
        where = where[where > 0]
        predictors.append(where - 1 - cached + ends[i])
        targets.append(whole[where])
    return Packed(
        ids_T=_tensor(ids, device),
        position_T=_tensor(positions, device),
        piece_lengths=lengths,
        prefix_pieces=[[] for _ in lengths],
        last_piece=list(range(len(lengths))),
        predictor_N=_tensor(predictors, device),
        target_N=_tensor(targets, device),
        trained=[len(target) for target in targets],
        varlen=Varlen(
            key_K=_tensor(seen, device),
            cu_seqlens_q=to_device(ends.astype(np.int32), device),
            cu_seqlens_k=to_device(np.cumsum([0, *map(len, seen)]).astype(np.int32), device),
            queries=lengths,
            keys=[len(keys) for keys in seen],
        ),
    )


def _cached(prompt: Ids) -> int:
    """Return how many of a prompt's tokens are not fed again: all but the last, which predicts the completion."""
    return max(len(prompt) - 1, 0)


def _tensor(parts: Sequence[NDArray[np.generic]], device: torch.device) -> Tensor:
    return to_device(np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64), device)
