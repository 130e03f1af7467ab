"""Raw rows of every container, known by content and not by name."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError
from haloes.feedback.containers import open_container
from haloes.feedback.refusals import RefusalError

ROWS = [{"prompt": "q", "label": True}, {"prompt": "é👍", "label": False}]


def raw(path: Path) -> list[tuple[int, Any]]:
    """The rows of a file; refusals as their reason and message."""
    found = open_container(str(path), split="train").rows()
    return [(line, (row.reason, row.message) if isinstance(row, RefusalError) else row) for line, row in found]


def written(path: Path, content: str | bytes) -> Path:
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["f.jsonl", "f.json", "f.jsonl.gz", "f", "f.csv"])
def test_jsonl_is_known_by_its_first_character(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, "\n" + "\n".join(json.dumps(row) for row in ROWS))
    assert open_container(str(path), split="train").kind == "JSONL"
    assert raw(path) == [(2, ROWS[0]), (3, ROWS[1])]


@pytest.mark.parametrize("name", ["f.json", "f.jsonl", "f.json.gz", "f"])
def test_an_array_is_known_by_its_first_character(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, "\ufeff \n" + json.dumps(ROWS, indent=1, ensure_ascii=False))
    assert open_container(str(path), split="train").kind == "JSON array"
    assert raw(path) == [(3, ROWS[0]), (7, ROWS[1])]


def test_one_object_over_several_lines_is_one_row(tmp_path: Path) -> None:
    path = written(tmp_path / "f.json", json.dumps(ROWS[0], indent=2))
    assert open_container(str(path), split="train").kind == "JSON object"
    assert raw(path) == [(1, ROWS[0])]


def test_bad_rows_of_jsonl_are_refused_and_reading_goes_on(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b'{"a": ', b"[1]", b'{"a": "\xff"}', b"NaN", b'{"a": 2}']
    assert raw(written(tmp_path / "f.jsonl", b"\n".join(lines))) == [
        (1, {"a": 1}),
        (2, ("broken JSON", "broken JSON: Expecting value at column 7")),
        (3, ("wrong type", "a row must be a JSON object, not list")),
        (4, ("invalid unicode", "invalid UTF-8 at byte 7; save the file as UTF-8")),
        (5, ("wrong type", "a row must be a JSON object, not float")),
        (6, {"a": 2}),
    ]


def test_bad_elements_of_an_array_are_refused_and_reading_goes_on(tmp_path: Path) -> None:
    text = '[\n {"a": 1},\n {\n  "a": tru\n },\n 3,\n {"a": 2}]'
    assert raw(written(tmp_path / "f.json", text)) == [
        (2, {"a": 1}),
        (3, ("broken JSON", "broken JSON: Expecting value at line 4, column 8")),
        (6, ("wrong type", "a row must be a JSON object, not int")),
        (7, {"a": 2}),
    ]


def test_csv_rows_have_the_line_on_which_they_begin(tmp_path: Path) -> None:
    text = '\ufeffprompt,label\r\n"two\nlines, and ""quotes""",true\r\nplain,\r\n\r\nlast,0\r\n'
    for name in ("f.csv", "f.csv.gz", "f"):
        assert raw(written(tmp_path / name, text)) == [
            (2, {"prompt": 'two\nlines, and "quotes"', "label": "true"}),
            (4, {"prompt": "plain", "label": ""}),
            (6, {"prompt": "last", "label": "0"}),
        ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_shows_what_separates_csv_cells(tmp_path: Path, delimiter: str) -> None:
    path = written(tmp_path / "f.csv", f"prompt{delimiter}label\nq{delimiter}1\n")
    assert raw(path) == [(2, {"prompt": "q", "label": "1"})]


def test_chats_and_tools_in_csv_cells_are_json(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a, b"}]
    cells = [
        json.dumps(chat),
        '[{"from": "human", "value": "x"}]',
        '[{"function": {"name": "f"}}]',
        '[{"a": 1}]',
        "[{]",
    ]
    row = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    ((_, read),) = raw(written(tmp_path / "f.csv", f"a,b,c,d,e\n{row}\n"))
    assert read == {
        "a": chat,
        "b": [{"from": "human", "value": "x"}],
        "c": [{"function": {"name": "f"}}],
        "d": '[{"a": 1}]',
        "e": "[{]",
    }


def test_bad_rows_of_csv_are_refused_and_reading_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "f.csv", 'a,b\n1\n1,2,3\n"x"y,2\n1,2\n')
    (one, two, three, four) = raw(path)
    assert one == (2, ("broken CSV", "the row has 1 cells, and the header names 2 columns"))
    assert two == (3, ("broken CSV", "the row has 3 cells, and the header names 2 columns"))
    assert (three[0], three[1][0]) == (4, "broken CSV")
    assert four == (5, {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('a,b\n1,2\n"open,2\n3,4\n', r"f.csv:3: broken CSV: unexpected end of data; is a quote left open\?"),
        ("a,a\n1,2\n", r"f.csv:1: the header names 'a' twice"),
        ("a,\n1,2\n", r"f.csv:1: the header has a column without a name"),
    ],
)
def test_a_csv_file_that_cannot_be_trusted_is_an_error(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        raw(written(tmp_path / "f.csv", text))


def test_a_long_answer_fits_a_csv_cell(tmp_path: Path) -> None:
    ((_, row),) = raw(written(tmp_path / "f.csv", f"a,b\n{'x' * 500_000},1\n"))
    assert len(row["a"]) == 500_000


def test_bytes_that_are_not_utf8_reach_the_row_they_stand_in(tmp_path: Path) -> None:
    # The texts then hold surrogates, which are refused where texts are checked.
    assert raw(written(tmp_path / "f.csv", b"a\n\xe9t\xe9\nok\n")) == [(2, {"a": "\udce9t\udce9"}), (3, {"a": "ok"})]
    assert raw(written(tmp_path / "f.json", b'[{"a": "\xff"},{"a": 1}]')) == [(1, {"a": "\udcff"}), (1, {"a": 1})]


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"f.jsonl: the file is empty"):
        open_container(str(path), split="train")


@pytest.mark.parametrize(
    ("head", "what"),
    [(b"PK\x03\x04", "Excel"), ("a".encode("utf-16"), "UTF-16"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2"),
     (b"\xfd7zXZ\x00", "xz"), (b"ARROW1\x00\x00", "Arrow")],
)  # fmt: skip
def test_what_is_not_read_is_named_with_what_to_do(tmp_path: Path, head: bytes, what: str) -> None:
    (tmp_path / "f.jsonl").write_bytes(head + b"\x00" * 20)
    with pytest.raises(DataError, match=what):
        open_container(str(tmp_path / "f.jsonl"), split="train")


def test_a_missing_file_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    written(tmp_path / "feedback.jsonl", "{}")
    with pytest.raises(DataError, match=r"fedback.jsonl: there is no such file; did you mean .*feedback.jsonl\?"):
        open_container(str(tmp_path / "fedback.jsonl"), split="train")


def test_a_file_has_no_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a file has no splits, so split 'test' cannot be chosen"):
        open_container(str(written(tmp_path / "f.jsonl", "{}")), split="test")


def test_the_fingerprint_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl.gz", json.dumps(ROWS[0]))
    assert open_container(str(path), split="train").fingerprint() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_gzip_file_that_is_cut_off_is_an_error_wherever_it_is_read(tmp_path: Path) -> None:
    for name, text in (("f.csv", "a\n" + "1234567\n" * 9999), ("f.json", json.dumps([{"a": n} for n in range(9999)]))):
        (tmp_path / name).write_bytes(gzip.compress(text.encode())[:-30])
        with pytest.raises(DataError, match=r"cannot be read: .*is the file complete\?"):
            raw(tmp_path / name)
