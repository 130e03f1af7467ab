"""Records come back from JSON as they were, and a field that is wrong is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.records import Judgement
from haloes.records_json import judgement_from_json, row_to_json

shares = st.none() | st.floats(0, 1)
judgements = st.builds(
    Judgement,
    prompt_id=st.text(),
    candidate=st.text(),
    baseline=st.text(),
    candidate_first=st.booleans(),
    verdict=st.sampled_from([None, "first", "second", "tie"]),
    preference=shares,
    reply=st.text(),
    reason=st.text(),
    judge=st.text(),
    template=st.text(),
    seed=st.none() | st.integers(),
    draw=st.integers(0, 5),
    fingerprint=st.text(),
    cost=shares,
)


def made(name: str, **fields: Any) -> Judgement:
    return Judgement(
        prompt_id=name, candidate="a", baseline="b", candidate_first=True, judge="j", fingerprint=name, **fields
    )


@given(judgements)
def test_a_judgement_comes_back_as_it_was(judgement: Judgement):
    assert judgement_from_json(row_to_json(judgement), where="f:1") == judgement


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "A"),
        ("verdict", 1),
        ("preference", 1.5),
        ("preference", True),
        ("candidate_first", 1),
        ("prompt_id", 3),
        ("judge", None),
        ("reply", []),
        ("seed", {}),
    ],
)
def test_a_field_that_is_wrong_is_named(field: str, value: object):
    with pytest.raises(DataError, match=f"f:1: {field} cannot be"):
        judgement_from_json({**row_to_json(made("a")), field: value}, where="f:1")


@pytest.mark.parametrize(
    ("verdict", "candidate_first", "points"),
    [
        ("first", True, 1.0),
        ("first", False, 0.0),
        ("second", True, 0.0),
        ("second", False, 1.0),
        ("tie", True, 0.5),
        ("tie", False, 0.5),
        (None, True, None),
        (None, False, None),
    ],
)
def test_points_are_the_candidates(verdict: Any, candidate_first: bool, points: float | None):
    judgement = Judgement(
        prompt_id="p", candidate="a", baseline="b", candidate_first=candidate_first, judge="j", verdict=verdict
    )
    assert judgement.points == points
