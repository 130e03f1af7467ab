"""No prompt and no conversation on both sides, whatever hangs together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.errors import ConfigError, DataError
from haloes.feedback.keys import NO_NUMBER, Int64s, conversation_number, group_number, group_of, user_number
from haloes.feedback.split import components, split
from haloes.records import Feedback, FeedbackRow, Pair, Record, Refusal, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The rows of both sides, each in the order they were read, and the refused rows."""

    train: list[FeedbackRow]
    validation: list[FeedbackRow]
    refused: list[Refusal]


def split_rows(rows: Iterable[Record], *, validation: float, seed: int, by_user: bool = False) -> Split:
    """
    Split rows that are held in memory; see `split`.

    Args:
        rows: The rows; refusals among them are kept apart.
        validation: The share of rows that validate, between 0 and 1.
        seed: Seed of the draw of components.
        by_user: Also keep all rows of one user on one side.
    """
    usable: list[FeedbackRow] = []
    refused: list[Refusal] = []
    for row in rows:
        if isinstance(row, Refusal):
            refused.append(row)
        else:
            usable.append(row)
    links = [_int64s([conversation_number(row) for row in usable])]
    if by_user:
        links.append(_int64s([user_number(row) for row in usable]))
    is_validation = split(_int64s([group_number(row) for row in usable]), *links, validation=validation, seed=seed)
    sides: tuple[list[FeedbackRow], list[FeedbackRow]] = ([], [])
    for row, side in zip(usable, is_validation.tolist(), strict=True):
        sides[side].append(row)
    return Split(train=sides[0], validation=sides[1], refused=refused)


def _int64s(values: Sequence[int]) -> Int64s:
    return np.array(values, dtype=np.int64)


rows_of_numbers = st.lists(
    st.tuples(st.integers(-20, 20).filter(bool), st.integers(0, 15), st.integers(0, 6)), min_size=2, max_size=60
)


def arrays(rows: list[tuple[int, ...]]) -> list[np.ndarray]:
    return [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]


def component_sets(rows: list[tuple[int, ...]]) -> set[frozenset[int]]:
    """Which rows hang together, by a plain union-find: the oracle."""
    parent = list(range(len(rows)))

    def find(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in combinations(range(len(rows)), 2):
        if rows[i][0] == rows[j][0] or any(a == b != NO_NUMBER for a, b in zip(rows[i][1:], rows[j][1:], strict=True)):
            parent[find(i)] = find(j)
    members: dict[int, set[int]] = {}
    for i in range(len(rows)):
        members.setdefault(find(i), set()).add(i)
    return {frozenset(some) for some in members.values()}


def test_rows_linked_by_prompt_or_conversation_stay_together() -> None:
    # Prompt 1 leads to conversation 7, this to prompt 2, this to conversation 8, this to prompt 3. Prompt 4 is alone.
    component_N, key_C = components(np.array([1, 2, 2, 3, 4]), np.array([7, 7, 8, 8, NO_NUMBER]))

    assert component_N.tolist() == [0, 0, 0, 0, 1]
    assert key_C.tolist() == [1, 4]


def test_many_rows_of_one_prompt_and_conversation_are_linked_whatever_their_number() -> None:
    for repeat in (255, 256, 257, 512):
        group_N = np.repeat([1, 2], [repeat, repeat])
        assert len(components(group_N, np.full(2 * repeat, 9))[1]) == 1


@given(rows_of_numbers)
def test_components_are_those_of_a_union_find(rows: list[tuple[int, ...]]) -> None:
    component_N, key_C = components(*arrays(rows))

    found = {frozenset(np.flatnonzero(component_N == c).tolist()) for c in range(len(key_C))}
    assert found == component_sets(rows)
    assert key_C.tolist() == sorted(key_C)
    assert all(rows[i][0] >= key_C[component_N[i]] for i in range(len(rows)))


@given(rows_of_numbers, st.floats(0.01, 0.99), st.integers(0, 5))
def test_nothing_leaks_and_both_sides_have_rows(rows: list[tuple[int, ...]], share: float, seed: int) -> None:
    if len(component_sets(rows)) == 1:
        with pytest.raises(DataError, match=f"all rows \\({len(rows)}\\) hang together"):
            split(*arrays(rows), validation=share, seed=seed)
        return
    is_validation = split(*arrays(rows), validation=share, seed=seed)

    assert is_validation.any()
    assert not is_validation.all()
    for part in range(3):
        sides = [{row[part] for row, side in zip(rows, is_validation, strict=True) if side == s} for s in (0, 1)]
        assert sides[0] & sides[1] <= ({NO_NUMBER} if part else set())


@given(rows_of_numbers, st.floats(0.01, 0.99), st.integers(0, 5))
def test_the_share_is_met_as_closely_as_whole_components_allow(
    rows: list[tuple[int, ...]], share: float, seed: int
) -> None:
    sizes = [len(some) for some in component_sets(rows)]
    totals = {0}
    for size in sizes:
        totals |= {total + size for total in totals}
    totals -= {0, len(rows)}
    if not totals:
        return
    target = share * len(rows)

    taken = split(*arrays(rows), validation=share, seed=seed).sum()

    assert abs(taken - target) == min(abs(total - target) for total in totals)


@given(rows_of_numbers, st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, ...]], random: object, seed: int) -> None:
    if len(component_sets(rows)) == 1:
        return
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]

    straight = split(*arrays(rows), validation=0.3, seed=seed)
    shuffled = split(*arrays([rows[i] for i in order]), validation=0.3, seed=seed)

    assert shuffled.tolist() == straight[order].tolist()


def test_another_seed_draws_other_prompts_and_every_prompt_is_drawn_as_often_as_its_share() -> None:
    # 40 prompts of one row, 10 of three and one of ten: large ones must not be left out of validation for good.
    group_N = np.repeat(np.arange(1, 52), [1] * 40 + [3] * 10 + [10])

    often_N = np.mean([split(group_N, validation=0.2, seed=seed) for seed in range(300)], axis=0)

    assert often_N[:40] == pytest.approx(np.full(40, 0.2), abs=0.1)
    assert often_N[40:70] == pytest.approx(np.full(30, 0.2), abs=0.1)
    assert often_N[70:] == pytest.approx(np.full(10, 0.2), abs=0.1)


def test_a_share_smaller_than_any_component_takes_the_smallest() -> None:
    group_N = np.repeat([1, 2, 3], [50, 30, 20])

    assert split(group_N, validation=0.01, seed=0).sum() == 20
    assert split(group_N, validation=0.99, seed=0).sum() == 80


def test_of_two_equally_close_numbers_of_rows_the_lower_is_taken() -> None:
    # Half of 6 is 3; whole prompts give 2 or 4.
    assert split(np.array([1, 1, 2, 2, 2, 2]), validation=0.5, seed=0).sum() == 2


@settings(max_examples=5)
@given(st.integers(0, 100))
def test_a_large_share_of_many_components_is_met_exactly(seed: int) -> None:
    group_N = np.repeat(np.arange(1, 201), np.arange(1, 201))

    assert split(group_N, validation=0.25, seed=seed).sum() == 5025


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        split(np.array([1, 2]), validation=share, seed=0)


def test_no_rows_cannot_be_split() -> None:
    with pytest.raises(DataError, match="no rows to split"):
        split_rows([], validation=0.5, seed=0)


def test_rows_are_split_by_words_conversation_and_on_request_user() -> None:
    def row(prompt: str, conversation: str | None = None, user: str | None = None) -> Feedback:
        return Feedback(prompt=prompt, completion="x", label=True, conversation=conversation, user=user)

    rows = [row("a", "1", "ann"), row("b", "1", "ann"), row(" b"), row("c", None, "ann"), row("d", None, "bob")]
    refusal = Refusal(Where("f", 1), "label", "no label")

    done = split_rows([*rows, refusal], validation=0.4, seed=1)

    assert (done.train, done.validation) == (rows[:3], rows[3:])
    assert done.refused == [refusal]
    by_user = split_rows(rows, validation=0.4, seed=1, by_user=True)
    assert (by_user.train, by_user.validation) == (rows[:4], rows[4:])


def test_pairs_and_single_answers_of_one_prompt_stay_together() -> None:
    single = [Feedback(prompt=str(i), completion="x", label=True) for i in range(10)]
    pairs = [Pair(prompt=str(i), chosen="y", rejected="z") for i in range(10)]

    done = split_rows([*single, *pairs], validation=0.3, seed=0)

    assert len(done.validation) == 6
    assert not {group_of(row) for row in done.train} & {group_of(row) for row in done.validation}
