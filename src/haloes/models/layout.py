"""
Sequences end to end, nothing padded: the layout in which completions go through a model.

Shape suffixes: T tokens of all sequences, N trained tokens among them, B sequences, H hidden size, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """B prompts with their completions, one after the other. The last token of each is predicted and never fed in."""

    ids_T: Tensor
    position_T: Tensor
    """Position of each token within its own sequence."""
    documents: list[int]
    """Tokens of each sequence; they add up to T. Attention never crosses from one to the next."""
    predictor_N: Tensor
    """Where in T the hidden state stands that predicts each trained token."""
    target_N: Tensor
    """The trained tokens."""
    trained: list[int]
    """How many of the N trained tokens belong to each sequence; they add up to N."""

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.ids_T)


def make_packed(
    sequences: Sequence[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]], device: torch.device
) -> Packed:
    """
    Lay sequences end to end.

    Args:
        sequences: prompt ids, completion ids, and which completion tokens are trained, of each sequence.
        device: where the tensors shall live.
    """
    ids, positions, documents, predictors, targets, counts = [], [], [], [], [], []
    start = 0
    for prompt, completion, trained in sequences:
        whole = np.concatenate([prompt, completion])
        fed = len(whole) - 1
        # A token can only be predicted from one before it: with an empty prompt the first goes untrained.
        where = np.flatnonzero(trained) + len(prompt)
        where = where[where > 0]
        ids.append(whole[:fed])
        positions.append(np.arange(fed))
        documents.append(fed)
        predictors.append(start + where - 1)
        targets.append(whole[where])
        counts.append(len(where))
        start += fed
    return Packed(
        ids_T=_tensor(np.concatenate(ids), device),
        position_T=_tensor(np.concatenate(positions), device),
        documents=documents,
        predictor_N=_tensor(np.concatenate(predictors), device),
        target_N=_tensor(np.concatenate(targets), device),
        trained=counts,
    )


def _tensor(values: NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.int64)).to(device)
