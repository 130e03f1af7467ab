"""
The cases of the importers: exports made by hand, and the records that stand in them, written down by hand too.

A case is a file or folder in `tests/feedback/importers/TOOL/`, beside `NAME.expected.jsonl`: first {"layout": ...}
(with "settings" where the user says something of the export, and "unrated": the text, place and model of each answer
that nobody rated) or {"error": a part of the message}; then each record in
order, as a canonical row or as {"left_out": reason}.
"""

import json
from pathlib import Path
from typing import Any

from haloes.feedback.importers.contract import Options, Unrated
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.read import FeedbackSource
from haloes.records import Record, Refusal
from haloes.records_json import row_to_json

FOLDER = Path(__file__).parent / "feedback" / "importers"
EXPECTED = ".expected.jsonl"
CASES = sorted(FOLDER.glob(f"*/*{EXPECTED}"))


def export_of(expected: Path) -> Path:
    """The export whose rows a file of expectations holds: the file or folder of the same name."""
    name = expected.name.removesuffix(EXPECTED)
    [found] = [path for path in expected.parent.iterdir() if path != expected and path.name.split(".")[0] == name]
    return found


def expectations(expected: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    head, *rows = [json.loads(line) for line in expected.read_text().splitlines() if line.strip()]
    return head, rows


def opened(path: Path, head: dict[str, Any]) -> FeedbackSource:
    said = head.get("settings", {})
    options = Options(
        voters=frozenset(said.get("voters", ["human"])), metric=said.get("metric"), words=said.get("words", {})
    )
    return FeedbackSource(str(path), options=options)


def as_expected(record: Record) -> dict[str, Any]:
    return {"left_out": record.reason} if isinstance(record, Refusal) else row_to_json(record)


def unrated(source: FeedbackSource) -> list[list[Any]]:
    assert isinstance(source.reader, ExportReader)
    read = source.reader.importer.unrated
    found = [] if read is None else read(source.reader.export)
    return [[each.completion[-1].content, each.number, each.model] for each in found if isinstance(each, Unrated)]


def is_turned(row: dict[str, Any], vote: dict[str, Any]) -> bool:
    """Whether a row says the opposite of what the vote with its id said before the export was spoilt."""
    if "label" in row and "label" in vote:
        return bool(row["label"] != vote["label"])
    # A comparison of which one answer was lost is a thumb for the other.
    good = row["completion"] if row.get("label") is True else row.get("chosen")
    bad = row["completion"] if row.get("label") is False else row.get("rejected")
    return "chosen" in vote and (good == vote["rejected"] or bad == vote["chosen"])


def documents(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return [each for each in files if each.suffix in {".json", ".jsonl"}]


JSON_CASES = [case for case in CASES if "layout" in expectations(case)[0] and documents(export_of(case))]
