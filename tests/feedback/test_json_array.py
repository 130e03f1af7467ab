"""Reading an array piece by piece gives what reading it at once gives."""

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.feedback.json_array import elements

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
chunks = st.integers(1, 40)
blanks = st.text(" \t\n\r", max_size=3)


def streamed(text: str, *, chunk: int = 1 << 16) -> list[object]:
    return [json.loads(element) for _, element in elements(io.StringIO(text), path="f.json", chunk=chunk)]


@given(st.lists(values, max_size=6), chunks, st.sampled_from([None, 1]), blanks, st.booleans())
def test_the_elements_are_those_that_json_loads_finds(
    array: list[object], chunk: int, indent: int | None, blank: str, ascii_only: bool
) -> None:
    text = blank + json.dumps(array, indent=indent, ensure_ascii=ascii_only) + blank
    assert streamed(text, chunk=chunk) == json.loads(text)


@given(st.lists(values, max_size=4).map(json.dumps), st.data(), chunks)
@example(text="[1, 2]", data=None, chunk=1)
def test_a_damaged_array_is_accepted_exactly_where_json_loads_accepts_it(
    text: str, data: st.DataObject, chunk: int
) -> None:
    if data is not None:
        at = data.draw(st.integers(0, len(text)), label="at")
        cut = data.draw(st.integers(0, 2), label="cut")
        added = data.draw(st.text('[]{},:"\\ 1a\n', max_size=2), label="added")
        text = text[:at] + added + text[at + cut :]
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    if isinstance(expected, list):
        assert streamed(text, chunk=chunk) == expected
    else:
        with pytest.raises((DataError, ValueError)):
            streamed(text, chunk=chunk)


def test_each_element_has_the_line_on_which_it_begins() -> None:
    text = '\n[\n  {"a": "x\\n\\n"},\n\n  {\n   "a": 2\n  }, {"a": 3}\n]\n'
    lines = [line for line, _ in elements(io.StringIO(text), path="f.json", chunk=3)]
    assert lines == [3, 5, 7]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[{"a": 1},\n {"a": "unfinished', r"f.json:2: broken JSON: the file ends within the array"),
        ("[1,\n,2]", r"f.json:2: broken JSON: an element is missing before ','"),
        ("[1,\n2,\n]", r"f.json:3: broken JSON: an element is missing before '\]'"),
        ("[1]\n[2]", r"f.json:2: broken JSON: '\[' after the end of the array"),
        ("[1}\n]", r"f.json:1: broken JSON: a '}' that nothing opened"),
        ('{"a": 1}', r"f.json:1: a JSON array must begin with \["),
    ],
)
def test_a_fault_is_named_by_its_line(text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        list(elements(io.StringIO(text), path="f.json", chunk=4))


def test_no_more_than_an_element_and_a_chunk_is_read_ahead() -> None:
    text = io.StringIO("[" + ",".join(['{"a": "%s"}' % ("x" * 90)] * 1000) + "]")
    read = elements(text, path="f.json", chunk=64)
    for _ in range(10):
        next(read)
    assert text.tell() < 10 * 101 + 3 * 101
