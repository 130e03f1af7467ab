"""How far training has moved a model so far: its divergence along a few held-out answers, looked at on the way."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from haloes.losses._contract import Needs
from haloes.models.policy import Policy
from haloes.runs.answer_kl import row_kl
from haloes.tokens.store import TokenStore

_ANSWERS = 8
"""Answers that a look takes: about the work of one step."""
_NATS_A_TOKEN = 0.015
"""Divergence that is allowed where the settings leave it open. Of 24 answers of a 135M model 5 were in pieces at 0.09
nats for each token of the answers looked at, 3 at 0.03 and 1 at 0.015; 2 at 0.01, so that less is no better before
it comes near to rounding, about 0.0016 in bfloat16 (LOG.md). Long answers have room for more than short."""


def default_budget(store: TokenStore) -> float:
    """Return how far answers may move where the settings leave it open, nats an answer: the longer, the further."""
    return float(f"{_NATS_A_TOKEN * float(np.mean(store.trained_length[spread_over(store, _ANSWERS)])):.2g}")


def make_drift(policy: Policy, needs: Needs, store: TokenStore) -> Callable[[int], float] | None:
    """
    Return a function that gives KL(policy || model before training) now, in nats an answer; None where nothing can.

    It is called with the tokens that go through the models together.

    It is summed over the tokens of the same few answers each time, whole distributions at each token, so that no chance
    is in how it grows. There must be the model before training beside the policy: a loss without a reference, one that
    syncs it, another model as the reference, and a reward model give no such number.

    Args:
        policy: what is trained.
        needs: what the loss needs.
        store: the answers, held out where there are some.
    """
    if (
        policy.reference is None
        or policy.start_fingerprint is not None
        or needs.sync_every is not None
        or needs.rewards
    ):
        return None
    answers = [store.read(int(place)) for place in spread_over(store, _ANSWERS)]

    def drift(budget: int) -> float:
        with policy.scoring():
            nats, _ = row_kl(policy, answers, budget=budget)
        return float(nats.mean())

    return drift


def look_tokens(store: TokenStore) -> int:
    """Return the tokens of a look's forward passes: its answers with their prompts, through policy and reference."""
    places = spread_over(store, _ANSWERS)
    return 2 * int(store.prompt_length[places].sum() + store.completion_length[places].sum())


def spread_over(store: TokenStore, count: int) -> NDArray[np.intp]:
    """Return the places of so many answers, or of all if there are fewer, spread evenly over the store."""
    return np.unique(np.linspace(0, len(store) - 1, min(len(store), count)).astype(np.intp))
