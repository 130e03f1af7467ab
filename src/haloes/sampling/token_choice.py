"""
The next token: the likeliest, or one drawn at random.

The random number of an answer's n-th token depends on the seed, the prompt's id and n alone, so an answer does not
depend on which other prompts are sampled with it, nor on their order. It holds as far as the logits do: a batch of
another shape rounds them differently, which matters only where a draw falls within that rounding of a boundary.

Shapes: B answers that are still growing, V tokens of the vocabulary, K likeliest tokens.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FEW = 512
"""Tokens that are sorted where that is enough: sorting a whole vocabulary costs as much as running a small model."""


def draws(prompt_id: str, *, seed: int, count: int) -> NDArray[np.float64]:
    """Return `count` uniform numbers in [0, 1), float64, that belong to this prompt under this seed."""
    # Hashed, so that similar ids have unrelated draws; Python's own hash changes with every process.
    words = np.frombuffer(hashlib.sha256(prompt_id.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng([seed, *words.tolist()]).random(count)


def greedy(logits_BV: Tensor) -> Tensor:
    """Take the token with the largest logit of each row, (B,)."""
    return logits_BV.argmax(dim=-1)


def sample_top_p(logits_BV: Tensor, draw_B: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """
    Draw a token for each row by nucleus sampling (Holtzman et al., 2020, https://arxiv.org/abs/1904.09751), (B,).

    The logits are divided by the temperature; the fewest likeliest tokens that together have at least `top_p` of the
    probability are kept; `draw_B` picks among them, likeliest first, in proportion to their probability.

    Args:
        logits_BV: of the next token.
        draw_B: uniform in [0, 1), float64.
        temperature: above 0.
        top_p: above 0, at most 1.
    """
    probability_BV = torch.softmax(logits_BV.float() / temperature, dim=-1)
    # At the usual top_p a few hundred tokens hold the mass; the whole vocabulary is sorted where they do not.
    few = min(FEW, probability_BV.shape[-1])
    likely_BK, token_BK = probability_BV.topk(few, dim=-1)
    if float(likely_BK.sum(dim=-1).min()) < top_p:
        likely_BK, token_BK = probability_BV.sort(dim=-1, descending=True)
    # float64: the rounding of a float32 sum over a vocabulary is larger than the probability of a rare token.
    reached_BK = likely_BK.double().cumsum(dim=-1)
    # A token is kept if the likelier ones have not reached top_p; so the first always is.
    kept_BK = reached_BK - likely_BK < top_p
    mass_B = (likely_BK * kept_BK).sum(dim=-1, dtype=torch.float64)
    # The inverse of the distribution function: the same draw takes the same token whatever else is in the batch.
    picked_B = torch.searchsorted(reached_BK, (draw_B * mass_B)[:, None], right=True).squeeze(1)
    # Rounding may carry a draw just below 1 past the last kept token.
    last_B = kept_BK.sum(dim=-1) - 1
    return token_BK.gather(1, torch.minimum(picked_B, last_B)[:, None]).squeeze(1)
