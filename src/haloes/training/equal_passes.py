"""
Equally many passes on all processes, where weights are shards: one without rows left goes along with two tokens.

Each pass makes every layer whole, which takes all processes. One that made fewer would leave the others waiting.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from haloes.models.forward import is_sharded
from haloes.models.layout import Packed, make_packed
from haloes.models.own_logits import text_ids
from haloes.models.policy import Policy
from haloes.training.cut import Cut, never
from haloes.training.distributed import Ranks

Fillers: TypeAlias = Callable[[int], Sequence[Packed]]
"""Returns, for the number of this process's own passes, layouts of two tokens that it takes through the model too."""


def no_fillers(_own: int) -> Sequence[Packed]:
    """Return none: where each process has all weights, it makes its own passes alone."""
    return ()


def fillers_for(policy: Policy, ranks: Ranks) -> Fillers:
    """Return what makes the processes' passes through this policy equally many; all of them ask it together."""
    if not is_sharded(policy.scorer.model):
        return no_fillers
    layout = two_tokens(policy)

    def fillers(own: int) -> Sequence[Packed]:
        passes = torch.zeros(ranks.count, dtype=torch.float64)
        passes[ranks.index] = own
        return [layout] * (int(ranks.sum(passes).max()) - own)

    return fillers


def two_tokens(policy: Policy) -> Packed:
    """Return the smallest layout that goes through the policy as any other does."""
    ids = text_ids(policy.scorer.model).numpy()[:2]
    return make_packed([(ids[:1], ids[1:], np.array([True]))], policy.device, last=policy.reward_head is not None)


def together(cut: Cut, policy: Policy, ranks: Ranks) -> Cut:
    """Return whether a step is given up as one answer for all processes, where none may make a pass alone."""
    if cut is never or not is_sharded(policy.scorer.model):
        return cut
    return lambda: ranks.any(cut())
