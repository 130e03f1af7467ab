"""Totals without gradient, and the reference's from the cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from haloes.batches.collate import read_pair, row_key
from haloes.losses.kto import KTO
from haloes.models.layout import Packed
from haloes.models.policy import Policy
from haloes.models.prefix_cache import PrefixCache
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.encode import Ids
from haloes.tokens.store import TokenRow, TokenStore
from haloes.training.completion_logps import Pass, ReferenceTokens, ReferenceTotals, bins_of, totals
from training_jobs import policy_for, thumbs, write_store

CPU = torch.device("cpu")


class Counting:
    """Scores every token as minus its id, and remembers what it was asked."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.sequences: list[int] = []

    def __call__(self, packed: Packed, _prefix_cache: PrefixCache | None = None) -> Tensor:
        self.tokens.append(packed.num_tokens)
        self.sequences.append(len(packed.trained))
        return -packed.target_N.float()


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return write_store(tmp_path / "store", thumbs(8, per_prompt=2))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_for(KTO())


def matched(store: TokenStore) -> np.ndarray:
    return np.stack([np.arange(len(store))] * 2, axis=1)


def ids(*values: int) -> Ids:
    return np.array(values, np.int32)


def row(prompt: Ids, completion: Ids) -> TokenRow:
    return TokenRow(prompt, completion, completion >= 0)


def test_a_total_is_the_sum_over_the_trained_tokens():
    rows = [row(ids(5, 6), ids(7, 8)), TokenRow(ids(5), ids(1, 2, 3), np.array([True, False, True]))]

    assert totals(Counting(), rows, budget=100, device=CPU).tolist() == [-15.0, -4.0]


lengths = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), max_size=20)


@given(lengths, st.integers(1, 60))
def test_totals_keep_to_their_rows_whatever_the_budget(drawn: list[tuple[int, int]], budget: int):
    # Prompts 0 to 3 come several times; completion i is made of the number i.
    rows = [row(ids(*[90 + prompt] * 9), ids(*[i] * n)) for i, (prompt, n) in enumerate(drawn)]
    score = Counting()

    found = totals(score, rows, budget=budget, device=CPU)

    assert found.tolist() == [-i * n for i, (_, n) in enumerate(drawn)]
    longest = max([9 + n for _, n in drawn], default=0)
    assert max(score.tokens, default=0) <= max(budget, longest)


def test_answers_to_one_prompt_go_together():
    prompts = [ids(*range(20)), ids(*range(30, 50))]
    rows = [row(prompts[i % 2], ids(i + 60)) for i in range(6)]
    score = Counting()

    totals(score, rows, budget=25, device=CPU)

    # 20 and three answers of one token: in two forwards, each of 19 shared tokens and three last ones.
    assert score.sequences == [3, 3]
    assert score.tokens == [22, 22]


def test_bins_hold_mismatched_pairs_by_their_own_length(store: TokenStore):
    pairs = np.array([[0, 5], [3, 1], [2, 7]])
    lengths = [int(store.prompt_length[x] + store.completion_length[y]) for x, y in pairs]

    assert bins_of(store, pairs, budget=max(lengths)) == [[i] for i in np.argsort([-n for n in lengths], kind="stable")]
    assert bins_of(store, pairs, budget=sum(lengths)) == [[0, 1, 2]]
    assert len(bins_of(store, pairs, budget=sum(lengths), ranks=2)) == 2


def test_without_a_cache_the_reference_is_asked_every_time(store: TokenStore):
    score = Counting()
    reference = ReferenceTotals(score, None, 10_000, CPU)

    assert (
        reference.score(store, matched(store)).totals.tolist() == reference.score(store, matched(store)).totals.tolist()
    )
    assert score.sequences == [8, 8]


def test_a_cached_reference_is_asked_once_for_each_sequence(store: TokenStore, tmp_path: Path):
    score = Counting()
    reference = ReferenceTotals(score, ReferenceCache(tmp_path / "cache"), 10_000, CPU)
    pairs = matched(store)

    reference.score(store, pairs[:3])
    reference.score(store, pairs[:5])
    again = ReferenceTotals(score, ReferenceCache(tmp_path / "cache"), 10_000, CPU).score(store, pairs).totals

    assert score.sequences == [3, 2, 3]
    assert again.tolist() == ReferenceTotals(Counting(), None, 10_000, CPU).score(store, pairs).totals.tolist()


def test_a_sequence_that_comes_twice_is_scored_once(tmp_path: Path, store: TokenStore):
    score = Counting()
    reference = ReferenceTotals(score, ReferenceCache(tmp_path / "cache"), 10_000, CPU)

    found = reference.score(store, np.array([[1, 1], [0, 0], [1, 1]])).totals

    assert score.sequences == [2]
    assert found[0] == found[2]


PASSES = [Pass([3, 0]), Pass([1, 2, 4]), Pass([5, 6, 7])]


def test_what_is_not_known_goes_through_the_reference_in_the_policys_passes(store: TokenStore, tmp_path: Path):
    score = Counting()
    reference = ReferenceTotals(score, ReferenceCache(tmp_path / "cache"), 10_000, CPU)

    reference.score(store, matched(store), PASSES)
    reference.score(store, matched(store), PASSES)

    assert score.sequences == [2, 3, 3]


def test_a_pass_that_is_known_in_part_is_not_computed_again(store: TokenStore, tmp_path: Path):
    score = Counting()
    reference = ReferenceTotals(score, ReferenceCache(tmp_path / "cache"), 10_000, CPU)
    told: list[int] = []

    reference.score(store, matched(store)[[1, 5]])
    found = replace(reference, on_scored=told.append).score(store, matched(store), PASSES).totals

    # Whole is the first pass alone; of the others what is left goes together.
    assert score.sequences == [2, 2, 4]
    assert sum(told) == 8
    assert found.tolist() == ReferenceTotals(Counting(), None, 10_000, CPU).score(store, matched(store)).totals.tolist()


def test_what_is_known_is_computed_anew_where_that_is_asked_for_and_stays_as_it_was(store: TokenStore, tmp_path: Path):
    score = Counting()
    cache = ReferenceCache(tmp_path / "cache")
    key = row_key(store.read(0))
    cache.put({key: -1.5})
    reference = ReferenceTotals(score, cache, 10_000, CPU)

    found = reference.score(store, matched(store), PASSES, anew=True).totals

    assert score.sequences == [2, 3, 3]
    assert found.tolist() == ReferenceTotals(Counting(), None, 10_000, CPU).score(store, matched(store)).totals.tolist()
    assert cache.get(key) == -1.5
    assert reference.score(store, matched(store)).totals[0] == -1.5


def test_tokens_of_the_reference_are_computed_in_the_policys_passes(store: TokenStore):
    score = Counting()

    found = ReferenceTokens(score, 10_000, CPU).score(store, matched(store), PASSES)

    assert score.sequences == [2, 3, 3]
    assert found.totals.tolist() == ReferenceTokens(score, 10_000, CPU).score(store, matched(store)).totals.tolist()


def test_cached_and_computed_values_are_equal_to_the_bit(store: TokenStore, policy: Policy, tmp_path: Path):
    live = ReferenceTotals(policy.reference_logps, None, 10_000, CPU)
    cached = ReferenceTotals(policy.reference_logps, ReferenceCache(tmp_path), 10_000, CPU)
    stored = ReferenceTotals(policy.reference_logps, ReferenceCache(tmp_path), 10_000, CPU)

    values = [reference.score(store, matched(store)).totals.tolist() for reference in (live, cached, cached, stored)]

    assert values == [values[0]] * 4


def test_nothing_to_score_is_nothing(store: TokenStore):
    found = ReferenceTotals(Counting(), None, 100, CPU).score(store, np.empty((0, 2), np.int64)).totals

    assert found.shape == (0,)


def test_tokens_of_the_reference_are_given_by_sequence_in_the_order_of_the_jobs(store: TokenStore):
    pairs = np.array([[0, 5], [3, 3], [2, 7], [0, 0]])

    found = ReferenceTokens(Counting(), 10_000, CPU).score(store, pairs)

    assert found.tokens is not None
    for (x, y), tokens, total in zip(pairs, found.tokens, found.totals, strict=True):
        row = read_pair(store, int(x), int(y))
        assert tokens.tolist() == (-row.completion[row.trained].astype(float)).tolist()
        assert total == tokens.sum()


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_tokens_of_the_reference_agree_with_its_totals_whatever_the_budget(
    store: TokenStore, policy: Policy, budget: int
):
    pairs = np.concatenate([matched(store), np.array([[0, 5], [6, 1]])])
    true = ReferenceTotals(policy.reference_logps, None, 10_000, CPU).score(store, pairs).totals

    found = ReferenceTokens(policy.reference_logps, budget, CPU).score(store, pairs)

    assert found.tokens is not None
    assert [len(tokens) for tokens in found.tokens] == [int(store.trained_length[y]) for _, y in pairs]
    np.testing.assert_allclose(found.totals, true, rtol=0, atol=1e-4)
    np.testing.assert_allclose([tokens.sum() for tokens in found.tokens], true, rtol=0, atol=1e-4)


def test_tokens_are_asked_for_in_every_step(store: TokenStore):
    score = Counting()
    reference = ReferenceTokens(score, 10_000, CPU)

    reference.score(store, matched(store))
    reference.score(store, matched(store))

    assert score.sequences == [8, 8]


def test_no_jobs_have_no_tokens(store: TokenStore):
    found = ReferenceTokens(Counting(), 100, CPU).score(store, np.empty((0, 2), np.int64))

    assert found.totals.shape == (0,)
    assert found.tokens == []
