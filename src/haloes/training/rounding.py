"""
By how much rounding alone moves log p(y|x): below that a reward, a margin or a reference point says nothing.

In bfloat16 a number has eight binary digits, and the products of a pass are rounded as their shapes have it: one
completion under the same weights has other log-probabilities with other neighbours in its pass. Where policy and
reference share a layout (`haloes.training.completion_logps`) that cancels as long as their weights are the same, and
no longer when training has moved them: then each is rounded by itself.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from haloes.batches.collate import packed_rows
from haloes.models.policy import Policy
from haloes.tokens.store import TokenStore

_ANSWERS = 8
_FEWEST = 2
_TOKENS = 1024
"""Tokens of them, at most: the measurement is to take no longer than a step."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """The floor of a run's numbers, as it was measured before the first step."""

    nats: float
    """Standard deviation of the log-ratio of identical weights over two packings, for an answer of the mean length."""
    answers: int
    """How many it was measured on."""
    tokens: float
    """The mean length: trained tokens of an answer, over all of the data."""


def measure_rounding(policy: Policy, store: TokenStore) -> Rounding:
    """
    Compare the tokens of a few answers when all of them share a pass and when each goes through the policy alone.

    Args:
        policy: it is left as it is.
        store: the answers; a few of all lengths are taken, the same every time.
    """
    chosen = _some(store)
    rows = [store.read(int(i)) for i in chosen]
    with policy.scoring():
        together = policy.token_logps(packed_rows(rows, policy.device))
        alone = torch.cat([policy.token_logps(packed_rows([row], policy.device)) for row in rows])
    # Around 0 and not around their mean: identical weights have the log-ratio 0. The errors of an answer's tokens are
    # independent (LOG.md), so that a few hundred tokens say what else would take hundreds of answers.
    of_token = float((together - alone).double().square().mean()) if len(together) else 0.0
    tokens = float(store.trained_length.mean())
    return Rounding(nats=math.sqrt(of_token * tokens), answers=len(rows), tokens=tokens)


def _some(store: TokenStore) -> NDArray[np.int64]:
    """Return a few sequences at even distances in the order of length, fewer where they are long."""
    lengths = store.prompt_length.astype(np.int64) + store.completion_length
    order = np.argsort(lengths, kind="stable")
    for count in range(min(_ANSWERS, len(order)), 0, -1):
        chosen: NDArray[np.int64] = order[((np.arange(count) + 0.5) * len(order) / count).astype(np.int64)]
        if count <= _FEWEST or int(lengths[chosen].sum()) <= _TOKENS:
            break
    return chosen
