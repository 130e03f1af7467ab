"""Files made to break a reader: one line each, and memory that the file does not choose."""

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haloes import store
from haloes.cli.main import run
from haloes.feedback import containers, json_array
from haloes.feedback.containers import open_container
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.store import read_parquet

LABELS = [True, False] * 5
ROWS = [{"prompt": f"p{i}", "completion": f"c{i}", "label": label} for i, label in enumerate(LABELS)]


def not_utf8() -> pa.Array:
    words = pa.array([b"\xff\xfe", *([b"fine"] * (len(ROWS) - 1))], pa.binary())
    return pa.Array.from_buffers(pa.string(), len(ROWS), words.buffers())


UNUSUAL = {
    "time": pa.array([2**62] + [0] * (len(ROWS) - 1), pa.timestamp("us")),
    "date": pa.array([10**8] + [0] * (len(ROWS) - 1), pa.date32()),
    "duration": pa.array([2**62] * len(ROWS), pa.duration("s")),
    "bytes": not_utf8(),
    "list": pa.ListArray.from_arrays(list(range(len(ROWS) + 1)), not_utf8()),
}


def parquet(path: Path, **columns: Any) -> Path:
    table = pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]} | columns)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_value_that_python_cannot_hold_in_a_column_that_nobody_reads_harms_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = parquet(tmp_path / "f.parquet", unread=UNUSUAL[name])

    assert run(["doctor", str(path)]) == 0
    assert f"{len(ROWS)} usable" in capsys.readouterr().out
    rows = [row for _, row in open_container(str(path), split="train").rows()]
    assert [{key: row[key] for key in ROWS[0]} for row in rows] == ROWS  # type: ignore[index]


@pytest.mark.parametrize("name", UNUSUAL)
def test_where_it_is_read_its_row_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = parquet(tmp_path / "f.parquet", completion=UNUSUAL[name])

    assert run(["doctor", str(path)]) == 2
    shown = capsys.readouterr()
    assert f"{path}:1: " in shown.out
    assert shown.err.startswith("haloes: ")


def test_rows_of_our_own_that_hold_such_a_value_are_no_rows(tmp_path: Path):
    path = parquet(tmp_path / "f.parquet", time=UNUSUAL["time"])

    with pytest.raises(store.DataError, match=r"f\.parquet: cannot be read as Parquet"):
        list(read_parquet(path))


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        "[" * 5000,
        '{"info": 5}',
        '{"info": {"features": []}}',
        '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 5}}}}',
        '{"info": {"features": {"label": {"_type": "ClassLabel", "names": [5, {}]}}}}',
        "\\ud83d",
    ],
)
def test_what_a_parquet_file_says_of_itself_is_believed_only_in_its_shape(said: str, tmp_path: Path):
    path = parquet(tmp_path / "f.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": said}), path)

    assert [row for _, row in open_container(str(path), split="train").rows()] == ROWS


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    """Write rows as JSON in ASCII, which can hold half of a surrogate pair."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    return path


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": [value]}
    return value


HALF = "\ud83d"
CARRIED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "tools": lambda value: {"tools": [{"name": "f", "parameters": value}]},
    "tools as text": lambda value: {"tools": json.dumps([{"name": "f", "parameters": value}])},
    "chat_template_kwargs": lambda value: {"chat_template_kwargs": {"a": value}},
    "tool_calls": lambda value: answer(tool_calls=[{"function": {"name": "f", "arguments": value}}]),
    "function_call": lambda value: answer(function_call={"name": "f", "arguments": value}),
    "key of a turn": lambda value: answer(more=value),
    "turn that is a call": lambda value: {
        "completion": [
            {"role": "function_call", "content": json.dumps({"name": "f", "arguments": value})},
            {"role": "assistant", "content": "a"},
        ]
    },
}


def answer(**keys: Any) -> dict[str, Any]:
    return {"completion": [{"role": "assistant", "content": "a", **keys}]}


def with_chat(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "prompt": [{"role": "user", "content": row["prompt"]}]}


@pytest.mark.parametrize("column", CARRIED)
@pytest.mark.parametrize(
    ("value", "words"), [(HALF, "invalid unicode"), ({HALF: 1}, "invalid unicode"), (deep(220), "levels deep")]
)
def test_what_a_template_renders_is_unicode_and_not_deep(
    column: str, value: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bad = {**with_chat(ROWS[0]), **CARRIED[column](value)}
    path = write_rows(tmp_path / "f.jsonl", [bad, *({**with_chat(row), **CARRIED[column]("x")} for row in ROWS[1:])])

    assert run(["doctor", str(path)]) == 2

    shown = capsys.readouterr()
    assert f"{path}:1: " in shown.out
    assert words in shown.out


def test_a_key_that_is_half_a_character_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bad = {**with_chat(ROWS[0]), **answer(**{HALF: 1})}
    path = write_rows(tmp_path / "f.jsonl", [bad, *map(with_chat, ROWS[1:])])

    run(["doctor", str(path)])
    assert "invalid unicode" in capsys.readouterr().out


def test_a_value_nested_without_end_is_named_in_a_message():
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    assert short_repr(value) == "a list nested too deeply"


# --- files that are small and hold much


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> int:
    most = 1 << 16
    monkeypatch.setattr(store, "MAX_LINE", most)
    monkeypatch.setattr(containers, "MAX_LINE", most)
    monkeypatch.setattr(json_array, "_MAX_ELEMENT", most)
    return most


HEADER = b"prompt,completion,label\np,c,good\n"


@pytest.mark.parametrize(
    ("name", "head", "repeated", "message"),
    [
        ("f.jsonl.gz", b'{"prompt": "p"}\n{"prompt": "', b"a", ":2: the line is longer than"),
        ("f.json.gz", b'{"a":\n"', b"a", ":2: the line is longer than"),
        ("f.json.gz", b'[{"a": "', b"a", ":1: broken JSON: the element that begins here does not end, or is longer"),
        ("f.csv.gz", b"", b"a", ":1: the row is longer than"),
        ("f.csv.gz", HEADER, b"a", ":3: the row is longer than"),
        ("f.csv.gz", HEADER, b"a,", ":3: the row is longer than"),
        ("f.csv.gz", HEADER, b'"\n",', ": the row is longer than"),
        ("f.jsonl.gz", b"", b" ", ": the file begins with more than"),
    ],
)
def test_a_line_without_end_is_given_up(  # noqa: PLR0917
    name: str, head: bytes, repeated: bytes, message: str, short_lines: int, tmp_path: Path, capsys: Any
):
    path = tmp_path / name
    path.write_bytes(gzip.compress(head + repeated * (4 * short_lines)))

    assert run(["doctor", str(path)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_row_of_a_csv_may_be_as_long_as_the_one_before(short_lines: int, tmp_path: Path):
    long = "a" * (short_lines // 2)
    path = tmp_path / "f.csv"
    path.write_text("prompt,completion,label\n" + f'p,"{long}\nb",good\n' * 6)

    rows = [row for _, row in open_container(str(path), split="train").rows()]
    assert len(rows) == 6
    assert not any(isinstance(row, RefusalError) for row in rows)


@pytest.mark.parametrize("has_known", [True, False])
def test_a_table_of_very_many_columns_is_read_and_its_message_stays_short(
    has_known: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = [*(list(ROWS[0]) if has_known else []), *(f"column{i}" for i in range(30_000))]
    path = tmp_path / "f.csv"
    lines = [",".join([*(map(str, row.values()) if has_known else []), *["x"] * 30_000]) for row in ROWS]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")

    code = run(["doctor", str(path)])

    shown = capsys.readouterr()
    assert code == (0 if has_known else 2)
    assert len(shown.out + shown.err) < 20_000


# --- names


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "x/" * 2500, "\x00"])
def test_a_name_that_is_no_name_is_one_line(name: str, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", name]) == 2

    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("haloes: ")
