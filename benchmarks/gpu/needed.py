"""The floating-point operations that a step needs at the least, whoever computes it."""

from typing import Any

import numpy as np
import torch

from haloes.batches.collate import packed_rows, read_pair, sequences_of
from haloes.batches.schedule import Step
from haloes.planning.cost_model import Layout, forward_operations, layout_of, training_operations
from haloes.planning.model_size import sizes_of
from haloes.tokens.store import TokenStore


def needed(model: Any, store: TokenStore, step: Step, *, full: bool) -> float:
    """
    Count them for a step with a known reference.

    They are (x, y) with gradient, a prompt once for all its answers, and y' after its prompt without.

    Args:
        model: that is trained; the peft model with adapters.
        store: the rows.
        step: its examples and their mismatched partners.
        full: whether all weights are trained.
    """
    sizes = sizes_of(model, full=full)
    rows = [store.read(int(i)) for i in sequences_of(store, step.examples)]
    packed = packed_rows(rows, torch.device("cpu"))
    trained = layout_of(packed.piece_lengths, packed.prefix_pieces, len(packed.target_N))
    total = training_operations(sizes, trained, full=full)
    for x, y in zip(step.examples, step.mismatched, strict=len(step.mismatched) > 0):
        row = read_pair(store, int(x), int(y))
        count, before = len(row.completion), len(row.prompt) - 1
        layout = Layout(
            tokens=count, seen=count * before + count * (count + 1) // 2, positions=int(np.sum(row.trained))
        )
        total += sum(forward_operations(sizes, layout))
    return total
