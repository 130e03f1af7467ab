"""Ids, weights, tools and verdicts beside the words."""

import pytest

from haloes.feedback.fields import parse_rating, parse_shared_fields, parse_tools, required_value
from haloes.feedback.refusals import RefusalError

TOOL = {"type": "function", "function": {"name": "add"}}


def test_what_a_row_carries_is_taken_over() -> None:
    row = {
        "id": 7,
        "group": "g",
        "conversation": "c",
        "user": 3.0,
        "source": "s",
        "weight": "2.5",
        "tools": [TOOL],
        "x": 1,
    }
    assert parse_shared_fields(row) == {
        "id": "7", "group": "g", "conversation": "c", "user": "3", "source": "s", "weight": 2.5, "tools": (TOOL,),
    }  # fmt: skip


@pytest.mark.parametrize("blank", [None, "", " "])
def test_blank_fields_are_as_good_as_absent(blank: object) -> None:
    assert parse_shared_fields({"id": blank, "weight": blank, "tools": blank, "images": [], "source": blank}) == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": ["a"]}, "wrong type"),
        ({"user": {"name": "ann"}}, "wrong type"),
        ({"group": True}, "wrong type"),
        ({"id": 1.5}, "wrong type"),
        ({"id": "\ud800"}, "invalid unicode"),
        ({"weight": 0}, "weight"),
        ({"weight": -1}, "weight"),
        ({"weight": "heavy"}, "weight"),
        ({"weight": True}, "weight"),
        ({"weight": float("nan")}, "NaN"),
        ({"weight": float("inf")}, "weight"),
        ({"weight": 1e300}, "weight"),  # infinite in float32, and 1e-46 nothing
        ({"weight": 1e-46}, "weight"),
        ({"tools": "not JSON"}, "wrong type"),
        ({"tools": ["add"]}, "wrong type"),
        ({"images": ["cat.png"]}, "multimodal content"),
        ({"audio": "cat.wav"}, "multimodal content"),
    ],
)
def test_a_broken_field_is_refused_by_its_column(row: dict[str, object], reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        parse_shared_fields(row)
    assert refused.value.reason == reason
    assert refused.value.column == next(iter(row))


def test_tools_may_be_json_in_a_text() -> None:
    assert parse_tools('[{"name": "add"}]') == ({"name": "add"},)


def test_a_verdict_is_a_label_or_a_score_or_both() -> None:
    assert parse_rating({"label": "up"}) == {"label": True}
    assert parse_rating({"label": None, "score": 0.25}) == {"score": 0.25}
    assert parse_rating({"label": 0, "score": "3"}) == {"label": False, "score": 3.0}
    assert parse_rating({"kto_tag": False, "label": None}, label_columns=("label", "kto_tag")) == {"label": False}


def test_without_a_verdict_nobody_rated_the_answer() -> None:
    for row in ({}, {"label": None}, {"label": "", "score": None}):
        with pytest.raises(RefusalError, match="neither a label nor a score") as refused:
            parse_rating(row)
        assert refused.value.reason == "no label"


def test_a_column_that_the_row_lacks_is_named() -> None:
    assert required_value({"prompt": None}, "prompt") is None
    with pytest.raises(RefusalError, match="the row has no prompt") as refused:
        required_value({}, "prompt")
    assert refused.value.reason == "missing column"
