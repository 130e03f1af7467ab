"""
Log-probabilities of whole completions without gradient: (x, y) and (x, y'), under the policy and the reference.

In bfloat16 they move with what shares a pass, so what a reference has to compute goes through it in the very layouts of
the policy: what both round alike cancels in the log-ratio, which is exactly 0 before training.
"""

from collections.abc import Container, Hashable, Iterator, Sequence
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
from haloes.models.prefix_cache import PrefixCache, make_continued
from haloes.models.reference_cache import ReferenceCache, values_from_bytes, values_to_bytes
from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenRow, TokenStore
from haloes.training.cut import Cut, never, refuse_if_cut
from haloes.training.distributed import Ranks
from haloes.training.equal_passes import Fillers, no_fillers
from haloes.training.prefetch import prefetch, to_numpy
from haloes.training.step_work import OnScored, ignore_count

SequencePairs: TypeAlias = NDArray[np.int64]
"""Sequences to score, (n, 2): the one of the store that gives the prompt, and the one that gives the completion."""


class TokenLogps(Protocol):
    """Packed sequences to the log-probability of each trained token."""

    def __call__(self, packed: Packed, prefix_cache: PrefixCache | None = None, /) -> Tensor:
        """Return log p of each trained token, (N,); the cache is that of `Scorer.states`."""
        ...


@dataclass(frozen=True, slots=True)
class Pass:
    """Sequences that go through the model together, by their places."""

    members: Sequence[int]
    continued: Sequence[int] = ()
    """One with the same prompt for each of them: they go on from the keys and values that the members leave."""

    @property
    def all(self) -> list[int]:
        """Return the places of all of them."""
        return [*self.members, *self.continued]


def bins_of(store: TokenStore, pairs: SequencePairs, *, budget: int, ranks: int = 1) -> list[list[int]]:
    """Return which of these (x, y) go through the model together, each bin within the budget of tokens."""
    return pack([pair_length(store, x, y) for x, y in pairs.tolist()], budget=budget, ranks=ranks)


def totals(
    token_logps: TokenLogps,
    rows: list[TokenRow],
    *,
    budget: int,
    device: torch.device,
    on_scored: OnScored = ignore_count,
) -> Floats:
    """Return log p(y|x) of each row, (n,) in nats, without gradient."""
    found = np.zeros(len(rows))
    passes = _packed_anew(rows, list(range(len(rows))), budget)
    for members, total in _totals(token_logps, rows, passes, device, on_scored):
        found[members] = total
    return found


def _totals(
    token_logps: TokenLogps,
    rows: list[TokenRow],
    passes: Sequence[Pass],
    device: torch.device,
    on_scored: OnScored,
    *,
    cut: Cut = never,
    fillers: Fillers = no_fillers,
) -> Iterator[tuple[list[int], Floats]]:
    """Yield the rows of each layout of these passes with their log p(y|x), fetched from the device all at once."""
    scored = list(_run(token_logps, rows, passes, device, on_scored, cut=cut, fillers=fillers))
    for part, total in zip(scored, to_numpy([part.logps.total() for part in scored]), strict=True):
        yield part.members, total


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows that were in one layout."""

    members: list[int]
    trained: list[int]
    """Trained tokens of each."""
    logps: Logps


def _run(
    token_logps: TokenLogps,
    rows: list[TokenRow],
    passes: Sequence[Pass],
    device: torch.device,
    on_scored: OnScored,
    *,
    cut: Cut,
    fillers: Fillers,
) -> Iterator[_Scored]:
    """Score the rows of these passes, each in its layout; no more of them once the step is given up."""
    others = fillers(len(passes))

    def prepare(part: Pass) -> Packed:
        return packed_rows([rows[i] for i in part.members], device)

    with prefetch(passes, prepare, device=device) as ready:
        for part, packed in zip(passes, ready, strict=True):
            if cut():
                return
            prefixes = PrefixCache() if part.continued else None
            yield _score(token_logps, part.members, packed, prefixes)
            on_scored(len(part.members))
            if prefixes is not None:
                sequences = [(rows[i].prompt, rows[i].completion, rows[i].trained) for i in part.continued]
                prefixes.continues = True
                yield _score(token_logps, part.continued, make_continued(packed, sequences, device), prefixes)
                prefixes.clear()
                on_scored(len(part.continued))
    for packed in others:
        if cut():
            return
        with torch.no_grad():
            token_logps(packed)


def _score(token_logps: TokenLogps, members: Sequence[int], packed: Packed, prefixes: PrefixCache | None) -> _Scored:
    with torch.no_grad():
        return _Scored(list(members), packed.trained, logps(token_logps(packed, prefixes), packed))


def _packed_anew(rows: list[TokenRow], wanted: list[int], budget: int) -> list[Pass]:
    """Return passes within the budget of tokens for the rows that are wanted; those with one prompt share it."""
    chosen = [rows[i] for i in wanted]
    prompts = [row.prompt.tobytes() for row in chosen]
    shared = [shared_length(len(row.prompt)) for row in chosen]
    own = [len(row.prompt) + len(row.completion) - common for row, common in zip(chosen, shared, strict=True)]
    return [Pass([wanted[k] for k in bin_]) for bin_ in pack_by_prompt(prompts, shared, own, budget=budget)]


def _passes_for(
    rows: list[TokenRow], keys: Sequence[Hashable], known: Container[Hashable], passes: Sequence[Pass], budget: int
) -> list[Pass]:
    """
    Return the passes in which the rows are computed that are not known, by key.

    Of the given passes those of which nothing is known stay as they are; what else is missing is packed anew, once
    where it comes several times.
    """
    alike = [part for part in passes if not any(keys[i] in known for i in part.all)]
    laid_out = {keys[i] for part in alike for i in part.all}
    others = {key: i for i, key in reversed(list(enumerate(keys))) if key not in known and key not in laid_out}
    return [*alike, *_packed_anew(rows, sorted(others.values()), budget)]


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

    def score(
        self, store: TokenStore, pairs: SequencePairs, passes: Sequence[Pass] = (), *, anew: bool = False
    ) -> ReferenceScores:
        """
        Return log p_reference of these sequences.

        Args:
            store: their store.
            pairs: the sequences.
            passes: those of the policy over them: one of which nothing is known yet has the policy's layout.
            anew: compute what is known too, in the policy's layouts: while the weights are equal, so are the values.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReferenceTotals:
    """
    log p_reference(y|x), from the cache where it is there, else computed and then kept.

    Processes that share a run score together, each its own sequences, and keep what all of them found: each knows at
    any time what the others do, and what a run that is resumed from files will know.
    """

    token_logps: TokenLogps
    cache: ReferenceCache | None
    budget: int
    device: torch.device
    on_scored: OnScored = ignore_count
    ranks: Ranks = Ranks(0, 1)  # noqa: RUF009 - it is frozen
    cut: Cut = never
    fillers: Fillers = no_fillers

    def score(
        self, store: TokenStore, pairs: SequencePairs, passes: Sequence[Pass] = (), *, anew: bool = False
    ) -> ReferenceScores:
        """Return log p_reference of these sequences, (n,), rounded to float32 so that cached and fresh values agree."""
        rows = [read_pair(store, x, y) for x, y in pairs.tolist()]
        keys = [row_key(row) for row in rows]
        known = dict[bytes, float]()
        if self.cache is not None and not anew:
            known = {key: value for key in keys if (value := self.cache.get(key)) is not None}
        passes = _passes_for(rows, keys, known, passes, self.budget)
        self.on_scored(len(rows) - sum(len(part.all) for part in passes))
        fresh = dict[bytes, float]()
        found_totals = _totals(
            self.token_logps, rows, passes, self.device, self.on_scored, cut=self.cut, fillers=self.fillers
        )
        for members, total in found_totals:
            for i, value in zip(members, total.astype(np.float32).tolist(), strict=True):
                # The first of equal ones counts, now and when it is read from the cache.
                fresh.setdefault(keys[i], value)
        refuse_if_cut(self.ranks, self.cut)
        if self.cache is not None:
            # Two processes may have found one sequence, each in a layout of its own: the first one's value counts, for
            # this very step too, as a run that is resumed before it will read that one.
            for found in reversed(self.ranks.gather(values_to_bytes(fresh))):
                fresh |= values_from_bytes(found)
            self.cache.put(fresh)
        return ReferenceScores(np.array([known[key] if key in known else fresh[key] for key in keys], np.float64))


@dataclass(frozen=True, slots=True)
class ReferenceTokens:
    """log p_reference of every token, computed in every step: there are too many of them to keep."""

    token_logps: TokenLogps
    budget: int
    device: torch.device
    on_scored: OnScored = ignore_count
    ranks: Ranks = Ranks(0, 1)  # noqa: RUF009 - it is frozen
    cut: Cut = never
    fillers: Fillers = no_fillers

    def score(
        self,
        store: TokenStore,
        pairs: SequencePairs,
        passes: Sequence[Pass] = (),
        *,
        anew: bool = False,  # noqa: ARG002 - nothing is kept, and all of it computed anew
    ) -> ReferenceScores:
        """Return log p_reference of these sequences, (n,), and of each of their trained tokens."""
        rows = [read_pair(store, x, y) for x, y in pairs.tolist()]
        found = np.zeros(len(rows))
        tokens = [np.empty(0)] * len(rows)
        passes = _passes_for(rows, range(len(rows)), {}, passes, self.budget)
        scored = list(
            _run(self.token_logps, rows, passes, self.device, self.on_scored, cut=self.cut, fillers=self.fillers)
        )
        refuse_if_cut(self.ranks, self.cut)
        sums = to_numpy([part.logps.total() for part in scored])
        for part, total, values in zip(scored, sums, to_numpy([part.logps.token_T for part in scored]), strict=True):
            found[part.members] = total
            for i, own in zip(part.members, np.split(values, np.cumsum(part.trained)[:-1]), strict=True):
                tokens[i] = own
        return ReferenceScores(found, tokens)
