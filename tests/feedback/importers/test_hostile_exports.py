"""
A battery over the exports of every importer: what is spoilt gives rows or a clear error, and never a turned vote.

Each attack is made on the hand-made export of every case. The rows that are read of it are compared with those that
were written down by hand, by their ids.
"""

import csv
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import UserError
from haloes.feedback.importers.table import IMPORTERS
from haloes.records import Feedback, Pair, Refusal
from haloes.records_json import row_to_json
from importer_cases import CASES, as_expected, documents, expectations, export_of, is_turned, opened, unrated
from spoilt_documents import deep, places

READABLE = [case for case in CASES if "layout" in expectations(case)[0]]
FIRST_OF_EACH = list({case.parent.name: case for case in reversed(READABLE)}.values())
TEN_MB = "A long answer, with words. " * 380_000
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")


def named(case: Path) -> str:
    return f"{case.parent.name}/{case.name.removesuffix('.expected.jsonl')}"


def on(cases: list[Path]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=named)


@pytest.fixture
def copied(case: Path, tmp_path: Path) -> Path:
    """A copy of the export, the cells of a CSV as JSON."""
    export = export_of(case)
    target = tmp_path / export.name
    (shutil.copytree if export.is_dir() else shutil.copy)(export, target)
    for path in [target] if target.is_file() else sorted(target.rglob("*.csv")):
        if path.suffix == ".csv":
            rows = [_cells(row) for row in csv.DictReader(path.read_text().splitlines())]
            path.unlink()
            _write(path.with_suffix(".jsonl"), rows)
            target = path.with_suffix(".jsonl") if target == path else target
    return target


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    # Gradio's header names a column more than its rows have.
    if list(row) == ["conversation", "index", "value", "flag", "timestamp"] and row["timestamp"] is None:
        row = {**row, "timestamp": row["flag"], "flag": None}
    return {name: json.loads(cell) if cell and cell[0] in "[{" else cell or None for name, cell in row.items()}


def _read(path: Path) -> Any:
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def _write(path: Path, document: Any) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in document) if path.suffix == ".jsonl" else json.dumps(document)
    path.write_text(lines)


def attacked(copied: Path, attack: Callable[[Any], Any]) -> None:
    """Change every document of an export."""
    for path in documents(copied):
        _write(path, attack(_read(path)))


def one_at_a_time(copied: Path, wanted: Callable[[Any], bool], value: Any) -> Iterator[str]:
    """Put a value in the place of the first of each name whose value is wanted, one after another; yield the place."""
    for path in documents(copied):
        whole = path.read_text()
        seen = set[Any]()
        for way in list(places(_read(path))):
            document, name = _read(path), way[-1] if isinstance(way[-1], str) else "[]"
            holder = document
            for key in way[:-1]:
                holder = holder[key]
            if name in seen or not wanted(holder[way[-1]]):
                continue
            seen.add(name)
            holder[way[-1]] = value
            _write(path, document)
            yield f"{path.name}: {way}"
            path.write_text(whole)


def check(copied: Path, case: Path) -> list[Any] | None:
    """Read an export; None for a clear error. No vote of it says the opposite of what was written down by hand."""
    head, expected = expectations(case)
    votes = {row["id"]: row for row in expected if row.get("id") is not None}
    try:
        source = opened(copied, head)
        records = list(source)
        unrated(source)
    except UserError:
        return None
    for record in records:
        assert isinstance(record, Feedback | Pair | Refusal)
        if not isinstance(record, Refusal) and record.id in votes:
            assert not is_turned(row_to_json(record), votes[record.id])
    return records


def test_the_battery_has_an_export_of_every_importer():
    assert {case.parent.name for case in READABLE} == {name.replace("-", "_") for name in IMPORTERS}


@on(READABLE)
def test_parents_in_a_circle(case: Path, copied: Path):
    def circle(value: Any, *, step: int) -> Any:
        """Let what names a parent name itself, or the next."""
        found = [way for way in places(value) if isinstance(way[-1], str) and "parent" in way[-1].lower()]
        holders = []
        for way in found:
            holder = value
            for key in way[:-1]:
                holder = holder[key]
            holders.append((holder, way[-1]))
        names = [next((str(h[key]) for key in ("id", "messageId", "message_id") if h.get(key)), "") for h, _ in holders]
        for number, (holder, key) in enumerate(holders):
            holder[key] = names[(number + step) % len(names)]
        return value

    for step in (0, 1):
        attacked(copied, lambda document, step=step: circle(document, step=step))
        check(copied, case)


@on(READABLE)
def test_every_row_and_item_twice(case: Path, copied: Path):
    def twice(value: Any) -> Any:
        if isinstance(value, list):
            return [twice(item) for item in value for _ in range(2 if isinstance(item, dict) else 1)]
        return {key: twice(item) for key, item in value.items()} if isinstance(value, dict) else value

    attacked(copied, lambda document: [twice(row) for row in document for _ in range(2)])
    check(copied, case)


@on(READABLE)
def test_a_clock_in_milliseconds_and_one_in_seconds_are_the_same(case: Path, copied: Path):
    head, expected = expectations(case)

    def in_milliseconds(value: Any) -> Any:
        if isinstance(value, list):
            return [in_milliseconds(item) for item in value]
        if isinstance(value, dict):
            return {key: in_milliseconds(item) for key, item in value.items()}
        if isinstance(value, str) and _TIME.fullmatch(value):
            at = datetime.fromisoformat(value if value[-1] == "Z" or value[-6] in "+-" else f"{value}+00:00")
            return round(at.timestamp() * 1000)
        is_time = isinstance(value, int | float) and not isinstance(value, bool) and 1e9 < value < 2e9
        return round(value * 1000) if is_time else value

    attacked(copied, in_milliseconds)

    assert list(map(as_expected, opened(copied, head))) == expected


@on(READABLE)
def test_numbers_that_are_none(case: Path, copied: Path):
    for value in (math.nan, math.inf, 10**400):
        for _ in one_at_a_time(copied, lambda found: isinstance(found, int | float), value):
            check(copied, case)


@on(READABLE)
def test_fifty_levels_of_nesting_in_any_place(case: Path, copied: Path):
    for _ in one_at_a_time(copied, lambda _: True, deep(50)):
        check(copied, case)


@on(FIRST_OF_EACH)
def test_ten_megabytes_in_the_place_of_a_message(case: Path, copied: Path):
    _, expected = expectations(case)
    words = {
        turn["content"]
        for row in expected
        for side in ("prompt", "completion", "chosen", "rejected")
        for turn in row.get(side, ())
        if turn["content"]
    }
    # In one place: the first of each name takes what a second one would, and a second of time.
    for _ in islice(one_at_a_time(copied, lambda value: isinstance(value, str) and value in words, TEN_MB), 1):
        assert check(copied, case) is not None
