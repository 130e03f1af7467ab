"""Which format rows are taken for."""

from typing import Any

import pytest

from haloes.feedback.formats.table import FORMATS, detect
from haloes.feedback.formats.unsupported import recognise_export

USER = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "a"}
BAD = {"role": "assistant", "content": "b"}
HH = "\n\nHuman: q\n\nAssistant: "

EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("unpaired", {"prompt": "q", "completion": "a", "label": True}),
    ("unpaired", {"prompt": [USER], "completion": [GOOD], "score": 0.5}),
    ("paired", {"prompt": "q", "chosen": "a", "rejected": "b"}),
    ("paired", {"chosen": [USER, GOOD], "rejected": [USER, BAD]}),
    # A well-known set holds all of these: the pair says the most.
    (
        "paired",
        {"prompt": "q", "messages": [USER, GOOD], "chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 5},
    ),
    ("paired", {"prompt": "q", "completion": "a", "label": True, "chosen": "a", "rejected": "b"}),
    ("hh", {"chosen": f"{HH}a", "rejected": f"{HH}b"}),
    ("hh", {"prompt": HH, "response": "a", "chosen": "a", "rejected": "b"}),
    ("messages", {"messages": [USER, GOOD], "label": True}),
    ("messages", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": True}),
    ("rated-turns", {"messages": [USER, GOOD | {"label": True}, USER, GOOD]}),
    ("ms-swift-pairs", {"messages": [USER, GOOD], "rejected_response": "b"}),
    ("llamafactory-dpo", {"conversations": [USER], "chosen": GOOD, "rejected": BAD}),
    ("alpaca", {"instruction": "q", "input": "", "output": "a", "kto_tag": True}),
    ("alpaca", {"instruction": "q", "chosen": "a", "rejected": "b"}),
    ("comparison", {"prompt": "q", "a": "x", "b": "y", "preference": "A", "completion": "x", "label": True}),
    ("arena", {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "model_a"}),
    ("arena", {"conversation_a": [USER, GOOD], "conversation_b": [USER, BAD], "winner": "tie"}),
    ("openai", {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}),
]


@pytest.mark.parametrize(("name", "row"), EXAMPLES)
def test_each_shape_is_known(name: str, row: dict[str, Any]) -> None:
    found = detect([row])
    assert found is FORMATS[name]


def test_every_format_has_an_example_here_and_is_named_once() -> None:
    assert {name for name, _ in EXAMPLES} == set(FORMATS)
    assert all(name == known.name for name, known in FORMATS.items())


def test_the_most_rows_decide_and_a_broken_first_row_does_not() -> None:
    rows = [{"prompt": "q", "completion": "a"}, {"prompt": "q", "chosen": "a", "rejected": "b"}, *[EXAMPLES[0][1]] * 2]
    assert detect(rows) is FORMATS["unpaired"]


@pytest.mark.parametrize("row", [{}, {"prompt": "q", "completion": "a"}, {"question": "q"}, {"messages": [USER, GOOD]}])
def test_rows_without_a_verdict_fit_no_format(row: dict[str, Any]) -> None:
    assert detect([row]) is None


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"data": [{"data": {}, "meta": {}, "snapshot": {}}], "total": 1}, "an Open WebUI export"),
        ({"id": "f", "data": {}, "meta": {}, "snapshot": {}}, "an Open WebUI export"),
        ({"prompt_input_ids": [1], "completion_input_ids": [2], "label": True}, "already tokenised data"),
        ({"prompt": "q"}, None),
    ],
)
def test_exports_that_are_not_read_yet_are_named(row: dict[str, Any], name: str | None) -> None:
    assert recognise_export([{"x": 1}, row]) == name
