"""Log-probabilities of whole completions without gradient: (x, y) and (x, y'), under the policy and the reference."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.collate import packed_rows, pair_length, read_pair, row_key
from haloes.batches.pack import pack, pack_by_prompt
from haloes.losses._contract import Logps
from haloes.models.device import to_device
from haloes.models.layout import Packed, shared_length
from haloes.models.reference_cache import ReferenceCache
from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenRow, TokenStore
from haloes.training.prefetch import prefetch, to_numpy
from haloes.training.step_work import OnScored, ignore_count

SequencePairs: TypeAlias = NDArray[np.int64]
"""Sequences to score, (n, 2): the one of the store that gives the prompt, and the one that gives the completion."""

TokenLogps: TypeAlias = Callable[[Packed], Tensor]
"""Packed sequences to the log-probability of each trained token, (N,)."""


def bins_of(store: TokenStore, pairs: SequencePairs, *, budget: int, at_least: int = 1) -> list[list[int]]:
    """Return which of these (x, y) go through the model together, each bin within the budget of tokens."""
    return pack([pair_length(store, x, y) for x, y in pairs.tolist()], budget=budget, at_least=at_least)


def totals(
    token_logps: TokenLogps,
    rows: list[TokenRow],
    *,
    budget: int,
    device: torch.device,
    on_scored: OnScored = ignore_count,
) -> Floats:
    """Return log p(y|x) of each row, (n,) in nats, without gradient."""
    passes = list(_passes(token_logps, rows, budget, device, on_scored))
    found = np.zeros(len(rows))
    for part, total in zip(passes, to_numpy([part.logps.total() for part in passes]), strict=True):
        found[part.members] = total
    return found


@dataclass(frozen=True, slots=True)
class _Pass:
    """Rows that went through the model together."""

    members: list[int]
    trained: list[int]
    """Trained tokens of each."""
    logps: Logps


def _passes(
    token_logps: TokenLogps, rows: list[TokenRow], budget: int, device: torch.device, on_scored: OnScored
) -> Iterator[_Pass]:
    """Score the rows in passes within the budget of tokens; rows with one prompt go together, and share it."""
    prompts = [row.prompt.tobytes() for row in rows]
    shared = [shared_length(len(row.prompt)) for row in rows]
    own = [len(row.prompt) + len(row.completion) - common for row, common in zip(rows, shared, strict=True)]
    bins = pack_by_prompt(prompts, shared, own, budget=budget)
    with prefetch(bins, lambda bin_: packed_rows([rows[i] for i in bin_], device), device=device) as ready:
        for members, packed in zip(bins, ready, strict=True):
            with torch.no_grad():
                yield _Pass(members, packed.trained, logps(token_logps(packed), packed))
            on_scored(len(members))


def logps(token_N: Tensor, packed: Packed) -> Logps:
    """Return log-probabilities of tokens, (N,), with the number of each sequence's trained tokens, (B,)."""
    return Logps(token_N, to_device(np.array(packed.trained, np.int64), token_N.device))


@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """Reference log-probabilities of n sequences."""

    totals: Floats
    """log p_reference(y|x), (n,)."""
    tokens: list[Floats] | None = None
    """log p_reference of each trained token, an array a sequence, where the loss needs them."""


class ReferenceSource(Protocol):
    """Provides a loss's reference log-probabilities."""

    def score(self, store: TokenStore, pairs: SequencePairs) -> ReferenceScores:
        """Return log p_reference of these sequences."""
        ...


@dataclass(frozen=True, slots=True)
class ReferenceTotals:
    """log p_reference(y|x), from the cache where it is there, else computed in one stream and then kept."""

    token_logps: TokenLogps
    cache: ReferenceCache | None
    budget: int
    device: torch.device
    on_scored: OnScored = ignore_count

    def score(self, store: TokenStore, pairs: SequencePairs) -> ReferenceScores:
        """Return log p_reference of these sequences, (n,), rounded to float32 so that cached and fresh values agree."""
        rows = [read_pair(store, x, y) for x, y in pairs.tolist()]
        if self.cache is None:
            return ReferenceScores(self._totals(rows))
        keys = [row_key(row) for row in rows]
        cached = {key: self.cache.get(key) for key in keys}
        # By key: a sequence that comes twice, as in a step that borrows a completion, is computed once.
        missing = {key: row for key, row in zip(keys, rows, strict=True) if cached[key] is None}
        self.on_scored(len(rows) - len(missing))
        if missing:
            found = self._totals(list(missing.values()))
            fresh = dict(zip(missing, found.astype(np.float32).tolist(), strict=True))
            self.cache.put(fresh)
            cached.update(fresh)
        return ReferenceScores(np.array([cached[key] for key in keys], np.float64))

    def _totals(self, rows: list[TokenRow]) -> Floats:
        return totals(self.token_logps, rows, budget=self.budget, device=self.device, on_scored=self.on_scored)


@dataclass(frozen=True, slots=True)
class ReferenceTokens:
    """log p_reference of every token, computed in every step: there are too many of them to keep."""

    token_logps: TokenLogps
    budget: int
    device: torch.device
    on_scored: OnScored = ignore_count

    def score(self, store: TokenStore, pairs: SequencePairs) -> ReferenceScores:
        """Return log p_reference of these sequences, (n,), and of each of their trained tokens."""
        rows = [read_pair(store, x, y) for x, y in pairs.tolist()]
        found = np.zeros(len(rows))
        tokens = [np.empty(0)] * len(rows)
        passes = list(_passes(self.token_logps, rows, self.budget, self.device, self.on_scored))
        sums = to_numpy([part.logps.total() for part in passes])
        for part, total, values in zip(passes, sums, to_numpy([part.logps.token_T for part in passes]), strict=True):
            found[part.members] = total
            for i, own in zip(part.members, np.split(values, np.cumsum(part.trained)[:-1]), strict=True):
                tokens[i] = own
        return ReferenceScores(found, tokens)
