"""prompt, completion, label."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.unpaired import UNPAIRED
from haloes.feedback.refusals import RefusalError
from haloes.records import Feedback, Message, Where
from haloes.records_json import row_to_json

ROW = {"prompt": "q", "completion": "a", "label": True}


def test_a_text_row(read_row: Any) -> None:
    (record,) = read_row(UNPAIRED, ROW | {"id": 3, "weight": 2, "unknown": [1]})
    assert record == Feedback(prompt="q", completion="a", label=True, id="3", weight=2.0)
    assert record.where == Where("f.jsonl", 1)


def test_a_chat_row_with_tools_and_a_system_message(read_row: Any) -> None:
    row = {
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "a"}],
        "label": "no",
        "tools": [{"name": "f"}],
        "system": "s",
    }
    (record,) = read_row(UNPAIRED, row)
    assert record == Feedback(
        prompt=(Message("system", "s"), Message("user", "q")),
        completion=(Message("assistant", "a"),),
        label=False,
        tools=({"name": "f"},),
    )


def test_a_score_stands_in_for_a_label(read_row: Any) -> None:
    row = {"prompt": "q", "completion": "a", "score": 3}
    assert read_row(UNPAIRED, row) == [Feedback(prompt="q", completion="a", score=3.0)]
    assert read_row(UNPAIRED, row | {"label": None}) == [Feedback(prompt="q", completion="a", score=3.0)]
    assert UNPAIRED.matches(row)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"label": -1}, "label"),
        ({"label": 0.2}, "label"),
        ({"label": "maybe"}, "label"),
        ({"label": None}, "no label"),
        ({"label": float("nan")}, "NaN"),
        ({"label": True, "score": float("nan")}, "NaN"),
        ({"prompt": ""}, "empty prompt"),
        ({"prompt": None}, "empty prompt"),
        ({"completion": ""}, "empty completion"),
        ({"completion": []}, "empty completion"),
        ({"completion": None}, "no completion"),
        ({"completion": 7}, "wrong type"),
        ({"completion": "\ud800"}, "invalid unicode"),
        ({"images": ["x.png"]}, "multimodal content"),
    ],
)
def test_broken_rows(reason: Callable[..., str], change: dict[str, Any], expected: str) -> None:
    assert reason(UNPAIRED, ROW | change) == expected


def test_an_empty_good_answer_is_refused_and_never_turned_into_a_bad_one(reason: Callable[..., str]) -> None:
    assert reason(UNPAIRED, ROW | {"completion": " "}) == "empty completion"


@pytest.mark.parametrize("column", ["prompt", "completion"])
def test_a_row_that_lacks_a_column(reason: Callable[..., str], column: str) -> None:
    assert reason(UNPAIRED, {name: value for name, value in ROW.items() if name != column}) == "missing column"


def parsed(**fields: object) -> Feedback:
    row = {"prompt": "Hi", "completion": "Hello", "label": True} | fields
    [record] = UNPAIRED.parse(row, Where("f.jsonl", 1))
    assert isinstance(record, Feedback)
    return record


def test_a_row_says_whether_its_answer_came_to_an_end():
    assert parsed().finished is None
    assert parsed(finished=None).finished is None
    assert parsed(finished=True).finished is True
    assert parsed(finished=False).finished is False
    assert row_to_json(parsed(finished=False))["finished"] is False
    assert "finished" not in row_to_json(parsed())


@pytest.mark.parametrize("value", ["false", 0, 1.0, "yes"])
def test_finished_is_true_or_false_and_nothing_else(value: object):
    with pytest.raises(RefusalError, match="finished must be true or false"):
        parsed(finished=value)
