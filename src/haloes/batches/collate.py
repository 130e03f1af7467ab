"""Rows of the token store to packed sequences: matched (x, y) and mismatched (x, y')."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import record_function

from haloes.models.layout import Packed, make_packed
from haloes.models.reference_cache import sequence_key
from haloes.tokens.encode import fit_completion
from haloes.tokens.store import TokenRow, TokenStore

LAYING_OUT = "haloes: lay out"
"""The name under which a profiler shows the time in which rows are laid out."""


def read_pair(store: TokenStore, prompt_of: int, completion_of: int) -> TokenRow:
    """
    Return the prompt of one sequence with the completion of another (or of the same: then its own).

    A long prompt with the long completion of another row may be longer than any row is, and than the model's window:
    the completion is cut to the length of the longest row, as the window cuts one.
    """
    first = store.read(prompt_of)
    if prompt_of == completion_of:
        return first
    second = store.read(completion_of)
    room = store.longest - len(first.prompt)
    return TokenRow(first.prompt, *fit_completion(second.completion, second.trained, room=room))


def pair_length(store: TokenStore, prompt_of: int, completion_of: int) -> int:
    """Return how many tokens `read_pair` would give, without reading them."""
    return min(int(store.prompt_length[prompt_of]) + int(store.completion_length[completion_of]), store.longest)


def packed_rows(rows: Sequence[TokenRow], device: torch.device, *, last: bool = False) -> Packed:
    """Lay these rows end to end; `last`: each with its last token, whose hidden state is asked for."""
    with record_function(LAYING_OUT):
        return make_packed([(row.prompt, row.completion, row.trained) for row in rows], device, last=last)


def row_key(row: TokenRow) -> bytes:
    """Return the key of this row in the reference cache."""
    return sequence_key(row.prompt, row.completion, row.trained)


def sequences_of(store: TokenStore, examples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sequences of these examples: themselves, or all chosen and then all rejected ones of the pairs."""
    return np.concatenate([2 * examples, 2 * examples + 1]) if store.paired else examples
