"""messages + label: ms-swift and LLaMA-Factory."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.rated_messages import RATED_MESSAGES
from haloes.records import Feedback, Message

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
EXPECTED = Feedback(prompt=(Message("user", "q"),), completion=(Message("assistant", "a"),), label=True)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS, "label": True},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": True},
        {"conversations": TURNS, "kto_tag": "true"},
        {"messages": TURNS, "label": None, "kto_tag": 1},
    ],
)
def test_both_tools_spellings(read_row: Any, row: dict[str, Any]) -> None:
    assert RATED_MESSAGES.matches(row)
    assert read_row(RATED_MESSAGES, row) == [EXPECTED]


def test_only_the_last_answer_is_rated(read_row: Any) -> None:
    (record,) = read_row(RATED_MESSAGES, {"messages": [*TURNS, *TURNS], "label": False, "system": "s"})
    assert [message.role for message in record.prompt] == ["system", "user", "assistant", "user"]
    assert record.completion == (Message("assistant", "a"),)
    assert record.label is False


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": TURNS[:1], "label": True}, "last turn not assistant"),
        ({"messages": TURNS[1:], "label": True}, "empty prompt"),
        ({"messages": [*TURNS, TURNS[1]], "label": True}, "prompt ends with assistant turn"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": ""}], "label": True}, "empty completion"),
        ({"messages": [], "label": True}, "no completion"),
        ({"messages": "q", "label": True}, "wrong type"),
        ({"messages": TURNS, "label": None}, "no label"),
        ({"messages": TURNS, "label": 2}, "label"),
        ({"label": True}, "missing column"),
        ({"messages": TURNS, "label": True, "images": ["x"]}, "multimodal content"),
    ],
)
def test_broken_rows(reason: Callable[..., str], row: dict[str, Any], expected: str) -> None:
    assert reason(RATED_MESSAGES, row) == expected
