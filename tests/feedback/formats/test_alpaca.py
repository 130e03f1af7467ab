"""Alpaca columns."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.alpaca import ALPACA
from haloes.records import Feedback, Message, Pair

ROW = {"instruction": "Add.", "input": "1 2", "output": "3", "kto_tag": True}


def test_instruction_and_input_make_the_prompt(read_row: Any) -> None:
    assert read_row(ALPACA, ROW) == [Feedback(prompt="Add.\n1 2", completion="3", label=True)]
    assert read_row(ALPACA, ROW | {"input": ""}) == [Feedback(prompt="Add.", completion="3", label=True)]
    assert read_row(ALPACA, ROW | {"kto_tag": None, "label": "bad"}) == [
        Feedback(prompt="Add.\n1 2", completion="3", label=False)
    ]


def test_chosen_and_rejected_make_a_pair(read_row: Any) -> None:
    row = {"instruction": "Add.", "input": None, "chosen": "3", "rejected": "4"}
    assert ALPACA.matches(row)
    assert read_row(ALPACA, row) == [Pair(prompt="Add.", chosen="3", rejected="4")]


def test_history_and_system_become_turns(read_row: Any) -> None:
    (record,) = read_row(ALPACA, ROW | {"history": [["Hi", "Hello"]], "system": "s"})
    assert record.prompt == (
        Message("system", "s"), Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Add.\n1 2"),
    )  # fmt: skip
    assert record.completion == "3"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"output": ""}, "empty completion"),
        ({"instruction": "", "input": ""}, "empty prompt"),
        ({"instruction": 3}, "wrong type"),
        ({"input": ["x"]}, "wrong type"),
        ({"history": "x"}, "wrong type"),
        ({"history": [["only a question"]]}, "wrong type"),
        ({"kto_tag": None}, "no label"),
        ({"kto_tag": "yep"}, "label"),
    ],
)
def test_broken_rows(reason: Callable[..., str], change: dict[str, Any], expected: str) -> None:
    assert reason(ALPACA, ROW | change) == expected


def test_plain_alpaca_without_a_verdict_is_not_feedback() -> None:
    assert not ALPACA.matches({"instruction": "Add.", "input": "", "output": "3"})
