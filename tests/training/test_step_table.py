"""The tables of a step: what is found for some rows stands in their places, and losses are given it as tensors."""

import numpy as np
import pytest
import torch

from haloes.training.ragged import Ragged
from haloes.training.scoring import Known
from haloes.training.step_table import MismatchedTable, ReferenceTable, tensor

LENGTHS = np.array([2, 1, 3])


def found() -> Known:
    """What the reference says of three sequences, of 3, 2 and 1 tokens."""
    return Known(np.array([-6.0, -3.0, -4.0]), [np.array([-1.0, -2.0, -3.0]), np.array([-1.5, -1.5]), np.array([-4.0])])


def mismatched(*, tokens: bool) -> MismatchedTable:
    policy = Ragged(np.array([-1.0, -1.0, -2.0, -1.0, -1.0, -1.0]), LENGTHS)
    known = found() if tokens else Known(found().totals)
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
    table = ReferenceTable.of(Known(np.array([-6.0])), slice(1), np.array([0]), LENGTHS)

    assert table.token is None
    assert [column.tolist() for column in table.columns()] == [[-6.0, 0.0, 0.0]]


def test_a_process_without_rows_has_a_table_of_zeros():
    table = ReferenceTable.of(Known(np.empty(0), []), slice(0), np.empty(0, np.int64), LENGTHS)

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_is_given_tensors_of_its_dtype(dtype: torch.dtype):
    scored = mismatched(tokens=True).scored(torch.zeros(1, dtype=dtype))

    assert scored.policy.total().tolist() == [-2.0, -2.0, -3.0]
    assert scored.policy.lengths_B.tolist() == [2, 1, 3]
    assert scored.log_ratio().tolist() == [1.0, 2.0, 3.0]
    assert scored.token_log_ratio().tolist() == [0.5, 0.5, 2.0, 0.0, 1.0, 2.0]
    assert {scored.policy.token_T.dtype, scored.log_ratio().dtype, scored.token_log_ratio().dtype} == {dtype}


def test_a_loss_without_tokens_or_reference_is_given_none():
    like = torch.zeros(1)

    assert mismatched(tokens=False).scored(like).reference_T is None
    without = MismatchedTable(Ragged.zeros(LENGTHS), None).scored(like)
    assert (without.reference_B, without.reference_T) == (None, None)


def test_a_tensor_is_a_copy_of_a_tables_numbers():
    values = np.array([0.5, -2.25])
    made = tensor(values, torch.zeros(1, dtype=torch.float32))
    made += 1

    assert values.tolist() == [0.5, -2.25]
    assert (made.tolist(), made.dtype) == ([1.5, -1.25], torch.float32)
    # Of one that cannot be written to, and of a single number too.
    values.flags.writeable = False
    assert tensor(values[0], made).tolist() == 0.5
    assert tensor(values.astype(np.float32)[:1], made).tolist() == [0.5]
