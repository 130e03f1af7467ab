"""Numbers at the tokens of sequences: what is put into a row is read from it, and nothing else changes."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from haloes.training.ragged import Ragged


def of(*lengths: int) -> Ragged:
    return Ragged.zeros(np.array(lengths, np.int64))


def test_it_begins_with_a_zero_at_every_token():
    table = of(2, 0, 3)

    assert table.values.tolist() == [0.0] * 5
    assert table.values.dtype == np.float64
    assert table.totals().tolist() == [0.0, 0.0, 0.0]


def test_rows_are_put_and_read_in_the_order_that_is_asked_for():
    table = of(2, 1, 3)

    table.put(np.array([2, 0]), [np.array([1.0, 2.0, 3.0]), np.array([8.0, 9.0])])

    assert table.values.tolist() == [8.0, 9.0, 0.0, 1.0, 2.0, 3.0]
    assert table.at(np.array([0, 2])).tolist() == [8.0, 9.0, 1.0, 2.0, 3.0]
    assert table.at(np.array([2, 1])).tolist() == [1.0, 2.0, 3.0, 0.0]
    assert table.totals().tolist() == [17.0, 0.0, 6.0]


def test_several_rows_may_come_as_one_array():
    table = of(2, 1)

    table.put(np.array([0, 1]), [np.array([1.0, 2.0, 3.0])])

    assert table.at(np.array([1])).tolist() == [3.0]


def test_a_row_without_tokens_has_nothing_and_the_total_zero():
    table = of(1, 0, 1)

    table.put(np.array([0, 1, 2]), [np.array([1.0]), np.empty(0), np.array([2.0])])

    assert table.at(np.array([1])).tolist() == []
    assert table.totals().tolist() == [1.0, 0.0, 2.0]


def test_no_rows_are_fine():
    table = of(2)

    table.put(np.empty(0, np.int64), [])

    assert table.at(np.empty(0, np.int64)).tolist() == []
    assert of().totals().shape == (0,)
    assert of(0, 0).totals().tolist() == [0.0, 0.0]


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=6), max_size=8), st.randoms(use_true_random=False))
def test_what_is_put_is_read_whatever_the_order(rows: list[list[float]], random: Random):
    table = Ragged.zeros(np.array([len(row) for row in rows], np.int64))
    order = list(range(len(rows)))
    random.shuffle(order)
    for i in order:
        table.put(np.array([i]), [np.array(rows[i])])

    assert [table.at(np.array([i])).tolist() for i in range(len(rows))] == rows
    assert table.at(np.array(order, np.int64)).tolist() == [value for i in order for value in rows[i]]
    np.testing.assert_allclose(table.totals(), [sum(row) for row in rows], rtol=1e-12, atol=1e-6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_tables_of_processes_that_fill_different_rows_add_up_to_the_whole(lengths: list[int]):
    whole, parts = of(*lengths), [of(*lengths), of(*lengths)]
    for i, length in enumerate(lengths):
        for table in (whole, parts[i % 2]):
            table.put(np.array([i]), [np.arange(length) + 10.0 * i])

    assert (parts[0].values + parts[1].values).tolist() == whole.values.tolist()
