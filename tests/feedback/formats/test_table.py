"""Which format rows are taken for."""

from typing import Any

import pytest

from format_examples import EXAMPLES, GOOD, USER
from haloes.feedback.formats.table import FORMATS, detect
from haloes.feedback.formats.unsupported import recognise_export


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
