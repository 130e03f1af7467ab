"""The tables of a step: what is found for some rows stands in their places, and losses are given it as tensors."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haloes.training.completion_logps import ReferenceScores
from haloes.training.step_table import MismatchedTable, Ragged, ReferenceTable, tensor

CPU = torch.device("cpu")
LENGTHS = np.array([2, 1, 3])


def found() -> ReferenceScores:
    """What the reference says of three sequences, of 3, 2 and 1 tokens."""
    tokens = [np.array([-1.0, -2.0, -3.0]), np.array([-1.5, -1.5]), np.array([-4.0])]
    return ReferenceScores(np.array([-6.0, -3.0, -4.0]), tokens)


def mismatched(*, tokens: bool) -> MismatchedTable:
    policy = Ragged(np.array([-1.0, -1.0, -2.0, -1.0, -1.0, -1.0]), LENGTHS)
    known = found() if tokens else ReferenceScores(found().totals)
    return MismatchedTable(policy, ReferenceTable.of(known, slice(3), np.array([2, 0, 1]), LENGTHS))


def test_what_was_found_stands_in_its_rows_and_zeros_elsewhere():
    table = ReferenceTable.of(found(), slice(2), np.array([2, 0]), LENGTHS)

    assert table.total.tolist() == [-3.0, 0.0, -6.0]
    assert table.token is not None
    assert table.token.values.tolist() == [-1.5, -1.5, 0.0, -1.0, -2.0, -3.0]


def test_a_part_of_what_was_found_is_another_table():
    table = ReferenceTable.of(found(), slice(2, None), np.array([1]), LENGTHS)

    assert table.total.tolist() == [0.0, -4.0, 0.0]
    assert table.token is not None
    assert table.token.at(np.array([1])).tolist() == [-4.0]


def test_without_tokens_there_are_totals_alone():
    table = ReferenceTable.of(ReferenceScores(np.array([-6.0])), slice(1), np.array([0]), LENGTHS)

    assert table.token is None
    assert [column.tolist() for column in table.columns()] == [[-6.0, 0.0, 0.0]]


def test_a_process_without_rows_has_a_table_of_zeros():
    table = ReferenceTable.of(ReferenceScores(np.empty(0), []), slice(0), np.empty(0, np.int64), LENGTHS)

    assert [column.tolist() for column in table.columns()] == [[0.0] * 3, [0.0] * 6]


def test_columns_are_the_tables_own_numbers_to_be_summed_in_place():
    table = mismatched(tokens=True)

    for column in table.columns():
        np.add(column, 1.0, out=column)

    assert table.policy.values.tolist() == [0.0, 0.0, -1.0, 0.0, 0.0, 0.0]
    assert table.reference is not None
    assert table.reference.total.tolist() == [-2.0, -3.0, -5.0]
    assert table.reference.token is not None
    assert table.reference.token.values.tolist() == [-0.5, -0.5, -3.0, 0.0, -1.0, -2.0]


def test_a_log_ratio_is_the_policys_total_less_the_references():
    # -2 - -3, -2 - -4, -3 - -6
    assert mismatched(tokens=False).log_ratio() == pytest.approx([1.0, 2.0, 3.0])
    assert MismatchedTable(Ragged.zeros(LENGTHS), None).log_ratio() is None


def test_equal_tokens_have_the_log_ratio_zero_exactly():
    # 0.1 three times is another number when it is added up in float64.
    tokens = np.full(6, 0.1, np.float32)
    scores = ReferenceScores(np.array([tokens[:n].sum(dtype=np.float32) for n in LENGTHS.tolist()], np.float64))
    table = MismatchedTable(
        Ragged(tokens.astype(np.float64), LENGTHS), ReferenceTable.of(scores, slice(3), np.arange(3), LENGTHS)
    )

    assert table.log_ratio().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_is_given_tensors_of_its_dtype(dtype: torch.dtype):
    scored = mismatched(tokens=True).scored(CPU, dtype)

    assert scored.policy.total().tolist() == [-2.0, -2.0, -3.0]
    assert scored.policy.lengths_B.tolist() == [2, 1, 3]
    assert scored.log_ratio().tolist() == [1.0, 2.0, 3.0]
    assert scored.token_log_ratio().tolist() == [0.5, 0.5, 2.0, 0.0, 1.0, 2.0]
    assert {scored.policy.token_T.dtype, scored.log_ratio().dtype, scored.token_log_ratio().dtype} == {dtype}


def test_a_loss_without_tokens_or_reference_is_given_none():
    assert mismatched(tokens=False).scored(CPU).reference_T is None
    without = MismatchedTable(Ragged.zeros(LENGTHS), None).scored(CPU)
    assert (without.reference_B, without.reference_T) == (None, None)


def test_a_tensor_is_a_copy_of_a_tables_numbers():
    values = np.array([0.5, -2.25])
    made = tensor(values, CPU)
    made += 1

    assert values.tolist() == [0.5, -2.25]
    assert (made.tolist(), made.dtype) == ([1.5, -1.25], torch.float32)
    # Of one that cannot be written to, and of a single number too.
    values.flags.writeable = False
    assert tensor(values[0], CPU).tolist() == 0.5
    assert tensor(values.astype(np.float32)[:1], CPU).tolist() == [0.5]


# -- values at the tokens ----------------------------------------------------------------------------------------------


def of(*lengths: int) -> Ragged:
    return Ragged.zeros(np.array(lengths, np.int64))


def test_it_begins_with_a_zero_at_every_token():
    table = of(2, 0, 3)

    assert table.values.tolist() == [0.0] * 5
    assert table.values.dtype == np.float64


def test_rows_are_put_and_read_in_the_order_that_is_asked_for():
    table = of(2, 1, 3)

    table.put(np.array([2, 0]), [np.array([1.0, 2.0, 3.0]), np.array([8.0, 9.0])])

    assert table.values.tolist() == [8.0, 9.0, 0.0, 1.0, 2.0, 3.0]
    assert table.at(np.array([0, 2])).tolist() == [8.0, 9.0, 1.0, 2.0, 3.0]
    assert table.at(np.array([2, 1])).tolist() == [1.0, 2.0, 3.0, 0.0]


def test_several_rows_may_come_as_one_array():
    table = of(2, 1)

    table.put(np.array([0, 1]), [np.array([1.0, 2.0, 3.0])])

    assert table.at(np.array([1])).tolist() == [3.0]


def test_a_row_without_tokens_has_nothing():
    table = of(1, 0, 1)

    table.put(np.array([0, 1, 2]), [np.array([1.0]), np.empty(0), np.array([2.0])])

    assert table.at(np.array([1])).tolist() == []


def test_no_rows_are_fine():
    table = of(2)

    table.put(np.empty(0, np.int64), [])

    assert table.at(np.empty(0, np.int64)).tolist() == []


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=6), max_size=8), st.randoms(use_true_random=False))
def test_what_is_put_is_read_whatever_the_order(rows: list[list[float]], random: Random):
    table = Ragged.zeros(np.array([len(row) for row in rows], np.int64))
    order = list(range(len(rows)))
    random.shuffle(order)
    for i in order:
        table.put(np.array([i]), [np.array(rows[i])])

    assert [table.at(np.array([i])).tolist() for i in range(len(rows))] == rows
    assert table.at(np.array(order, np.int64)).tolist() == [value for i in order for value in rows[i]]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_tables_of_processes_that_fill_different_rows_add_up_to_the_whole(lengths: list[int]):
    whole, parts = of(*lengths), [of(*lengths), of(*lengths)]
    for i, length in enumerate(lengths):
        for table in (whole, parts[i % 2]):
            table.put(np.array([i]), [np.arange(length) + 10.0 * i])

    assert (parts[0].values + parts[1].values).tolist() == whole.values.tolist()
