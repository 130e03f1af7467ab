"""Rows of the store as they go through the model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from haloes.batches.collate import packed_rows, pair_length, read_pair, row_key, sequences_of
from haloes.models.reference_cache import sequence_key
from haloes.tokens.encode import Encoded
from haloes.tokens.store import TokenStore, TokenStoreWriter

ROWS = [([5, 6], [7, 1]), ([8], [9, 10, 1]), ([11, 12, 13], [1]), ([14, 15], [16, 17, 1])]


@pytest.fixture(params=[False, True], ids=["single", "paired"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TokenStore]:
    with TokenStoreWriter(tmp_path / "store", paired=request.param) as writer:
        for i, (prompt, completion) in enumerate(ROWS):
            trained = np.array(completion) != 10
            ids = np.array(prompt, np.int32), np.array(completion, np.int32)
            row = Encoded(*ids, trained, prompt_cut=False, completion_cut=False, agrees=True)
            writer.append(row, desirable=i % 2 == 0, group=i, weight=1.0, source="x.jsonl", line=i + 1)
    opened = TokenStore(tmp_path / "store")
    yield opened
    opened.close()


def test_a_row_with_its_own_completion_is_itself(store: TokenStore):
    row = read_pair(store, 1, 1)

    assert (row.prompt.tolist(), row.completion.tolist()) == ROWS[1]
    assert row.trained.tolist() == [True, False, True]


def test_a_mismatched_row_has_the_prompt_of_one_and_the_completion_of_another(store: TokenStore):
    row = read_pair(store, 0, 1)

    assert (row.prompt.tolist(), row.completion.tolist()) == (ROWS[0][0], ROWS[1][1])
    assert row.trained.tolist() == [True, False, True]


def test_a_mismatched_row_is_no_longer_than_the_longest_row(store: TokenStore):
    # 3 + 3 tokens; the longest row has 5, and the model's window may have no more.
    row = read_pair(store, 2, 1)

    assert (row.prompt.tolist(), row.completion.tolist()) == (ROWS[2][0], ROWS[1][1][:2])
    assert row.trained.tolist() == [True, False]


@pytest.mark.parametrize("x", range(4))
@pytest.mark.parametrize("y", range(4))
def test_the_length_of_a_pair_is_known_without_reading_it(store: TokenStore, x: int, y: int):
    row = read_pair(store, x, y)

    assert pair_length(store, x, y) == len(row.prompt) + len(row.completion)


def test_rows_are_packed_in_their_order(store: TokenStore):
    packed = packed_rows([store.read(2), read_pair(store, 0, 1)], torch.device("cpu"))

    assert packed.ids_T.tolist() == [11, 12, 13, 5, 6, 9, 10]
    assert packed.target_N.tolist() == [1, 9, 1]
    assert packed.trained == [1, 2]


def test_a_row_is_named_by_its_tokens_alone(store: TokenStore):
    row = store.read(1)

    assert row_key(row) == sequence_key(row.prompt, row.completion, row.trained)
    assert len({row_key(read_pair(store, x, y)) for x in range(4) for y in range(4)}) == 16


def test_pairs_are_all_chosen_and_then_all_rejected_completions(store: TokenStore):
    found = sequences_of(store, np.array([1, 0]))

    assert found.tolist() == ([2, 0, 3, 1] if store.paired else [1, 0])


def test_reasoning_of_a_mismatched_row_gives_way_before_its_answer_does(tmp_path: Path):
    rows = [([5, 6, 7], [1]), ([5], [20, 21, 22, 23, 8, 1])]
    with TokenStoreWriter(tmp_path / "store", paired=False) as writer:
        for i, (prompt, completion) in enumerate(rows):
            ids = np.array(prompt, np.int32), np.array(completion, np.int32)
            row = Encoded(*ids, np.array(completion) < 20, prompt_cut=False, completion_cut=False, agrees=True)
            writer.append(row, desirable=True, group=i, weight=1.0, source="x.jsonl", line=i + 1)
    found = read_pair(TokenStore(tmp_path / "store"), 0, 1)

    # 3 + 4 tokens, as many as the longest row has: the mark that opens the thought, the rest of it, the answer.
    assert found.completion.tolist() == [20, 23, 8, 1]
    assert found.trained.tolist() == [False, False, True, True]
