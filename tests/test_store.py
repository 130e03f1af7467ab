"""Rows on disk: whole or not at all, and the line at fault is named."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.store import (
    open_bytes,
    read_json,
    read_jsonl,
    read_parquet,
    require_place,
    write_json,
    write_jsonl,
    write_parquet,
    write_text,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
rows = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@settings(max_examples=40)
@given(rows, st.sampled_from(["rows.jsonl", "rows.jsonl.gz"]))
def test_what_is_written_is_read_back(folder: Path, written: list[dict[str, Any]], name: str) -> None:
    assert write_jsonl(folder / name, written) == len(written)
    assert list(read_jsonl(folder / name)) == list(enumerate(written, start=1))


@settings(max_examples=40)
@given(values)
def test_a_json_document_is_read_back(folder: Path, value: object) -> None:
    write_json(folder / "one.json", value)
    assert read_json(folder / "one.json") == value


def test_a_line_is_what_ends_with_a_line_break_and_nothing_else(tmp_path: Path) -> None:
    row = {"text": "one\u2028two\u0085three\x0bfour"}
    write_jsonl(tmp_path / "rows.jsonl", [row, row])
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [(1, row), (2, row)]


def test_blank_lines_count_and_hold_no_row(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": 2}')
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"a": 1', r"rows.jsonl:2: broken JSON: Expecting ',' delimiter at column 8"),
        (b"[1]", r"rows.jsonl:2: each line must be a JSON object, not list"),
        (b'{"a": "\xff"}', r"rows.jsonl:2: invalid UTF-8 at byte 7"),
        (b'{"a": ' + b"[" * 100_000, r"rows.jsonl:2: broken JSON: nested too deeply"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, fault: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"{}\n" + line + b"\n")
    read = read_jsonl(tmp_path / "rows.jsonl")
    assert next(read) == (1, {})
    with pytest.raises(DataError, match=fault):
        next(read)


def test_gzip_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "zipped.jsonl").write_bytes(gzip.compress(b'{"a": 1}\n'))
    (tmp_path / "plain.jsonl.gz").write_bytes(b'{"a": 1}\n')
    assert list(read_jsonl(tmp_path / "zipped.jsonl")) == [(1, {"a": 1})]
    assert list(read_jsonl(tmp_path / "plain.jsonl.gz")) == [(1, {"a": 1})]


def test_a_gzip_file_that_is_cut_off_is_named_with_the_line(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % number for number in range(1000)))
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"cut.jsonl.gz:\d+: cannot be read: .*is the file complete\?"):
        list(read_jsonl(tmp_path / "cut.jsonl.gz"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"nowhere.jsonl: there is no such file"),
        open_bytes(tmp_path / "nowhere.jsonl"),
    ):
        pass


def test_the_same_rows_give_the_same_gzip_bytes(tmp_path: Path) -> None:
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_jsonl(tmp_path / name, [{"a": 1}])
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    def failing() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise RuntimeError("the source broke")

    write_jsonl(tmp_path / "rows.jsonl", [{"old": True}])
    with pytest.raises(RuntimeError, match="the source broke"):
        write_jsonl(tmp_path / "rows.jsonl", failing())
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [(1, {"old": True})]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800", {1, 2}])
def test_what_json_cannot_hold_is_refused_with_the_row(tmp_path: Path, value: object) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl: row 2: cannot be written as JSON"):
        write_jsonl(tmp_path / "rows.jsonl", [{"a": 1}, {"a": value}])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"rows.jsonl: cannot be written: .* choose another place"):
        write_text(tmp_path / "file" / "rows.jsonl", "text")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("folder", "folder: cannot be written: it is a folder"),
        ("file/deep/rows.json", "file is a file and no folder"),
        ("closed/deep/rows.json", "nothing may be written in .*closed"),
    ],
)
def test_a_place_is_refused_before_the_work_and_nothing_is_made(
    tmp_path: Path, path: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(os, "access", lambda folder, _: Path(folder).name != "closed")  # root may write anywhere
    require_place(tmp_path / "new" / "rows.json")

    with pytest.raises(DataError, match=why):
        require_place(tmp_path / path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["closed", "file", "folder"]


def test_a_text_file_is_utf8_whatever_the_system_prefers(tmp_path: Path) -> None:
    write_text(tmp_path / "new folder" / "page.html", "naïve 👍\n")
    assert (tmp_path / "new folder" / "page.html").read_bytes() == "naïve 👍\n".encode()


def test_a_broken_document_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{\n  "a": 1,\n  b\n}')
    with pytest.raises(DataError, match=r"one.json: broken JSON: .* at line 3, column 3"):
        read_json(tmp_path / "one.json")


def test_parquet_keeps_chats_and_columns_that_appear_late(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "hello"}]
    written = [{"prompt": chat, "label": True}] * 10_001 + [{"prompt": chat, "label": False, "weight": 2.0}]

    assert write_parquet(tmp_path / "rows.parquet", written) == 10_002
    read = list(read_parquet(tmp_path / "rows.parquet"))

    assert read[0] == (1, {"prompt": chat, "label": True, "weight": None})
    assert read[-1] == (10_002, {"prompt": chat, "label": False, "weight": 2.0})
    assert len(read) == 10_002


def test_parquet_of_no_rows_has_none(tmp_path: Path) -> None:
    assert write_parquet(tmp_path / "rows.parquet", []) == 0
    assert list(read_parquet(tmp_path / "rows.parquet")) == []


def test_a_column_of_mixed_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.parquet: the rows do not fit one Parquet table"):
        write_parquet(tmp_path / "rows.parquet", [{"a": 1}, {"a": "one"}])
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1" + json.dumps({}).encode())
    with pytest.raises(DataError, match=r"rows.parquet: cannot be read as Parquet"):
        list(read_parquet(tmp_path / "rows.parquet"))
