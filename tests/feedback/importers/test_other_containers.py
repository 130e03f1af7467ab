"""The same export in another container gives the same rows: lines, arrays, pages, many files, CSV, Parquet, gzip."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haloes.feedback.importers.export import open_export
from haloes.feedback.refusals import RefusalError
from importer_cases import CASES, as_expected, expectations, export_of, opened

Rows = list[dict[str, Any]]

READABLE = [case for case in CASES if "layout" in expectations(case)[0]]
FROM_MONGODB = {"chat_ui", "librechat"}
"""Tools whose ids and times are objects, which MongoDB writes into a CSV in another way."""


def files_of(case: Path) -> list[tuple[str, Rows]] | None:
    """The files of a case by their names without an ending, as rows; None where not every row can be read."""
    files: list[tuple[str, Rows]] = []
    export = open_export(str(export_of(case)))
    assert export is not None
    for file in export.files:
        rows = [row for _, row in file.rows()]
        if any(isinstance(row, RefusalError) for row in rows):
            return None
        files.append((file.name.split(".")[0].replace("/", "-"), [dict(row) for row in rows if isinstance(row, dict)]))
    return files


def lines(rows: Rows, end: str = "\n") -> str:
    return "".join(json.dumps(row) + end for row in rows)


def columns(rows: Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def as_lines(folder: Path, name: str, rows: Rows) -> None:
    (folder / f"{name}.jsonl").write_text(lines(rows))


def as_array(folder: Path, name: str, rows: Rows) -> None:
    (folder / f"{name}.json").write_text(json.dumps(rows, indent=1))


def as_array_after_a_mark(folder: Path, name: str, rows: Rows) -> None:
    (folder / f"{name}.json").write_text("\ufeff" + json.dumps(rows))


def as_lines_of_windows(folder: Path, name: str, rows: Rows) -> None:
    (folder / f"{name}.jsonl").write_bytes(("\ufeff" + lines(rows, "\r\n")).encode())


def compressed(folder: Path, name: str, rows: Rows) -> None:
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines(rows).encode()))


def as_pages(folder: Path, name: str, rows: Rows) -> None:
    half = (len(rows) + 1) // 2
    for number, part in enumerate((rows[:half], rows[half:], [])):
        page = {"data": part, "has_more": number == 0, "limit": half, "page": number}
        (folder / f"{name}-{number:03d}.json").write_text(json.dumps(page))


def as_a_file_a_row(folder: Path, name: str, rows: Rows) -> None:
    for number, row in enumerate(rows):
        as_lines(folder, f"{name}-{number:03d}", [row])


def with_more_columns(folder: Path, name: str, rows: Rows) -> None:
    as_lines(folder, name, [{"not known": {"a": [1]}, **row, "nor this": None} for row in rows])


def with_null_for_what_is_missing(folder: Path, name: str, rows: Rows) -> None:
    as_lines(folder, name, [{column: row.get(column) for column in columns(rows)} for row in rows])


def as_table(folder: Path, name: str, rows: Rows) -> None:
    table = [{column: row.get(column) for column in columns(rows)} for row in rows]
    try:
        pq.write_table(pa.Table.from_pylist(table), folder / f"{name}.parquet")
    except (pa.ArrowException, TypeError):
        pytest.skip("not every row has the same types, so no table can hold them")


def as_cell(value: Any) -> str | None:
    """A value as tables without nesting hold it: text, and of what is nested JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def as_table_of_texts(folder: Path, name: str, rows: Rows) -> None:
    table = [{column: as_cell(row.get(column)) for column in columns(rows)} for row in rows]
    pq.write_table(pa.Table.from_pylist(table), folder / f"{name}.parquet")


def as_csv(folder: Path, name: str, rows: Rows) -> None:
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns(rows))
        writer.writerows([as_cell(row.get(column)) for column in columns(rows)] for row in rows)


NESTED: list[Callable[[Path, str, Rows], None]] = [
    as_lines,
    as_array,
    as_array_after_a_mark,
    as_lines_of_windows,
    compressed,
    as_pages,
    as_a_file_a_row,
    with_more_columns,
    with_null_for_what_is_missing,
    as_table,
]
FLAT: list[Callable[[Path, str, Rows], None]] = [as_table_of_texts, as_csv]


@pytest.mark.parametrize("write", [*NESTED, *FLAT], ids=lambda write: write.__name__)
@pytest.mark.parametrize("case", READABLE, ids=lambda case: f"{case.parent.name}/{case.name.split('.')[0]}")
def test_another_container_gives_the_same_rows(case: Path, write: Callable[[Path, str, Rows], None], tmp_path: Path):
    if write in FLAT and case.parent.name in FROM_MONGODB:
        pytest.skip("MongoDB writes ids and times into a table in another way")
    files = files_of(case)
    if files is None:
        pytest.skip("not every row can be read, so they cannot be written again")
    head, expected = expectations(case)
    (tmp_path / "export").mkdir()
    for name, rows in files:
        write(tmp_path / "export", name, rows)

    source = opened(tmp_path / "export", head)

    assert source.reader.layout == head["layout"]
    assert [as_expected(record) for record in source] == expected
