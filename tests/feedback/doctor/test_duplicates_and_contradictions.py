"""Pairs that contradict each other, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.feedback.doctor.duplicates_and_contradictions import Contradictions, count_contradictions
from haloes.records import Feedback, Pair, Refusal, Where


def counts(*preferences: str, prompt: str = "p") -> tuple[int, int, int]:
    """(pairs, checkable, contradicted) of preferences such as "ab": a over b."""
    found = count_contradictions([Pair(prompt=prompt, chosen=one[0], rejected=one[1]) for one in preferences])
    return found.num_pairs, found.num_checkable, found.num_contradicted


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        (["ab"], (1, 0, 0)),
        (["ab", "cd"], (2, 0, 0)),
        (["ab", "bc"], (2, 0, 0)),  # a chain: nothing bears on it
        (["ab", "ab"], (2, 2, 0)),  # asked twice, answered alike
        (["ab", "ba"], (2, 2, 2)),
        (["ab", "ba", "cd"], (3, 2, 2)),
        (["ab", "bc", "ac"], (3, 3, 0)),  # consistent
        (["ab", "bc", "ca"], (3, 3, 3)),  # in a circle
        (["ab", "ba", "bc"], (3, 3, 2)),
    ],
)
def test_circles_are_found(preferences: list[str], expected: tuple[int, int, int]):
    assert counts(*preferences) == expected


def test_the_same_answers_to_different_prompts_do_not_contradict_each_other():
    rows = [Pair(prompt="p", chosen="a", rejected="b"), Pair(prompt="q", chosen="b", rejected="a")]

    assert count_contradictions(rows) == Contradictions(num_pairs=2, num_checkable=0, num_contradicted=0)


def test_other_rows_do_not_count():
    rows = [Feedback(prompt="p", completion="a", label=True), Refusal(Where("f", 1), "label", "no")]

    assert count_contradictions(rows) == Contradictions(num_pairs=0, num_checkable=0, num_contradicted=0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1])))
def test_preferences_by_a_single_order_never_contradict_each_other(pairs: list[tuple[int, int]]):
    found = count_contradictions([Pair(prompt="p", chosen=str(a), rejected=str(b)) for a, b in pairs])

    assert found.num_contradicted == 0
    assert found.num_checkable <= found.num_pairs == len(pairs)
