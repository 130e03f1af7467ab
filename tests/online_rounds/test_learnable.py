"""What of the verdicts can be learnt from."""

from typing import Any

import pytest

from haloes.errors import DataError
from haloes.online_rounds.learnable import counts_of, learnable, require_enough
from haloes.records import Feedback, Pair, to_json

GOOD, BAD = Feedback(prompt="p", completion="a", label=True), Feedback(prompt="p", completion="b", label=False)
OTHER = Feedback(prompt="q", completion="b", label=False)
PAIR = Pair(prompt="p", chosen="a", rejected="b")


def test_empty_answers_and_pairs_of_one_text_are_left_out():
    empty = Feedback(prompt="p", completion=" \n", label=True)
    half, same = Pair(prompt="p", chosen="a", rejected=""), Pair(prompt="p", chosen="a", rejected="a ")

    assert learnable([GOOD, empty, PAIR, half, same, BAD]) == [GOOD, PAIR, BAD]


def test_rows_are_counted_as_they_stand_in_a_file():
    assert counts_of([to_json(row) for row in (GOOD, BAD, OTHER, PAIR)]) == {
        "desirable": 1,
        "undesirable": 2,
        "pairs": 1,
    }


@pytest.mark.parametrize(
    ("rows", "needs", "message"),
    [
        ([], {"pairs": False, "undesirable": True}, "round 3: no verdict says anything"),
        ([GOOD, OTHER], {"pairs": True, "undesirable": True}, "no prompt has a liked and a disliked answer"),
        ([BAD, OTHER], {"pairs": False, "undesirable": False}, "no answer is liked"),
    ],
)
def test_a_round_with_nothing_to_learn_is_refused_with_what_to_do(rows: list[Any], needs: Any, message: str):
    with pytest.raises(DataError, match=message) as caught:
        require_enough(rows, 3, **needs)
    assert "raise --per-prompt" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "needs"),
    [
        ([BAD], {"pairs": False, "undesirable": True}),
        ([GOOD, BAD], {"pairs": True, "undesirable": True}),
        ([PAIR], {"pairs": True, "undesirable": True}),
        ([PAIR], {"pairs": False, "undesirable": False}),
        ([GOOD], {"pairs": False, "undesirable": False}),
    ],
)
def test_enough_is_enough(rows: list[Any], needs: Any):
    require_enough(rows, 1, **needs)
