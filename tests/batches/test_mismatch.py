"""Mismatched completions: whose completion is scored under whose prompt."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.batches.mismatch import mismatched
from haloes.errors import DataError


def partners(rows: list[int], group: list[int], *, seed: int = 0) -> list[int]:
    everything = np.arange(len(group))
    rng = np.random.default_rng(seed)
    return mismatched(np.array(rows, np.int64), np.array(group, np.int64), rng, everything).tolist()


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """The prompt of every row of a data set with at least two prompts, and the rows of a step."""
    group = draw(st.lists(st.integers(0, 5), min_size=1, max_size=24))
    group.append(6)
    rows = draw(st.lists(st.sampled_from(range(len(group))), min_size=1, unique=True))
    return rows, group


@given(steps(), st.integers(0, 3))
def test_no_partner_answers_the_same_prompt(step: tuple[list[int], list[int]], seed: int):
    rows, group = step

    found = partners(rows, group, seed=seed)

    assert len(found) == len(rows)
    assert all(group[x] != group[y] for x, y in zip(rows, found, strict=True))


@given(steps(), st.integers(0, 3))
def test_partners_are_the_steps_own_rows_unless_one_prompt_has_more_than_half(
    step: tuple[list[int], list[int]], seed: int
):
    rows, group = step
    largest = max(Counter(group[i] for i in rows).values())

    found = partners(rows, group, seed=seed)

    if 2 * largest <= len(rows):
        assert sorted(found) == sorted(rows)
    else:
        # n - largest rows of other prompts can be partners of the largest group, and the group's of theirs.
        own = Counter(found) & Counter(rows)
        assert own.total() >= 2 * (len(rows) - largest)


@given(steps(), st.integers(0, 3))
def test_the_result_follows_the_rows_and_not_their_order(step: tuple[list[int], list[int]], seed: int):
    rows, group = step
    found = dict(zip(rows, partners(rows, group, seed=seed), strict=True))

    assert dict(zip(rows[::-1], partners(rows[::-1], group, seed=seed), strict=True)) == found


def test_a_step_of_one_row_borrows_its_partner_from_the_data():
    seen = {partners([1], [0, 1, 2, 1], seed=seed)[0] for seed in range(30)}

    assert seen == {0, 2}


def test_a_step_of_one_prompt_borrows_all_its_partners():
    group = [0] * 6 + [1, 2]

    assert set(partners([0, 1, 2, 3], group)) <= {6, 7}


def test_two_prompts_of_equal_share_swap_their_completions():
    found = partners([0, 1, 2, 3], [0, 0, 1, 1])

    assert sorted(found[:2]) == [2, 3]
    assert sorted(found[2:]) == [0, 1]


def test_chance_decides_and_reaches_every_possible_partner():
    seen = Counter(partners([0, 1, 2, 3], [0, 1, 2, 3], seed=seed)[0] for seed in range(300))

    assert set(seen) == {1, 2, 3}
    assert min(seen.values()) > 60


def test_a_rare_other_prompt_is_found():
    # 1 of 100,001 rows answers another prompt: drawing at random would hardly ever meet it.
    group = [0] * 100_000 + [1]

    assert partners([5, 6], group) == [100_000, 100_000]


def test_data_on_one_prompt_is_refused():
    with pytest.raises(DataError, match="all rows answer the same prompt"):
        partners([0, 1], [3, 3, 3])
