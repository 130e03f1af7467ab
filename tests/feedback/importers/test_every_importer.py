"""
Every importer on exports made by hand, whose rows were written down by hand too, and on exports that were spoilt.

A case is a file or folder in `TOOL/`, beside `NAME.expected.jsonl`: first {"layout": ...} (with "settings" where the
user says something of the export) or {"error": a part of the message}; then each record in order, as a canonical row or
as {"left_out": reason}.
"""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.errors import DataError, UserError
from haloes.feedback.importers.table import IMPORTERS
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Pair, Refusal
from haloes.records_json import row_to_json
from importer_cases import (
    CASES,
    JSON_CASES,
    as_expected,
    documents,
    expectations,
    export_of,
    is_turned,
    opened,
    unrated,
)
from spoilt_documents import deep, places


def every(*, readable: bool) -> Any:
    cases = [case for case in CASES if ("error" not in expectations(case)[0]) == readable]
    return pytest.mark.parametrize("case", cases, ids=lambda case: f"{case.parent.name}/{case.name}")


@every(readable=True)
def test_an_export_gives_the_rows_that_stand_in_it(case: Path):
    head, rows = expectations(case)
    source = opened(export_of(case), head)
    assert source.reader.layout == head["layout"]
    records = list(source)
    assert list(map(as_expected, records)) == rows
    assert list(source) == records, "a second reading gives the same"
    assert unrated(source) == head.get("unrated", [])
    for record in records:
        assert record.where is not None
        assert Path(record.where.path).is_file()


@every(readable=False)
def test_an_export_that_cannot_be_used_says_how_to_get_one_that_can(case: Path):
    head, rows = expectations(case)
    assert not rows
    with pytest.raises(DataError) as failed:
        list(opened(export_of(case), head))
    assert head["error"] in str(failed.value)
    assert "\n" not in str(failed.value)
    assert "--columns" not in str(failed.value)


@pytest.mark.parametrize("name", IMPORTERS)
def test_every_importer_has_a_case_that_is_read_and_says_what_it_wants(name: str):
    known = IMPORTERS[name]
    folder = name.replace("-", "_")
    assert any(case.parent.name == folder and "layout" in expectations(case)[0] for case in CASES)
    for words in (known.product, known.files, known.how, known.votes):
        assert words
        assert "\n" not in words


@pytest.mark.parametrize("name", IMPORTERS)
def test_an_importer_that_is_named_says_what_it_wants_where_it_gets_something_else(name: str, tmp_path: Path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"prompt": "q", "completion": "a", "label": true}\n')
    with pytest.raises(DataError, match="is wanted"):
        FeedbackSource(str(path), format=name)


# --- exports that were spoilt

NOTHING_THAT_VOTES: list[Any] = [
    *(None, "", "   ", "x", "\ud800", [], {}, [[]], [None], {"": None}, {"role": "user"}, [{"type": "text"}], 3.7, -7),
    *(
        10**400,
        float("nan"),
        float("inf"),
        "NaN",
        {"type": "image_url"},
        "<details",
        "<think>",
        {"content": {"content": []}},
    ),
]
"""Values of which none is a verdict of any tool."""


def spoil(document: Any, data: st.DataObject) -> None:
    """Change one place of a document: leave it out, double it, turn a list round, or put something else there."""
    found = list(places(document))
    if not found:
        return
    *way, last = data.draw(st.sampled_from(found), label="place")
    holder = document
    for key in way:
        holder = holder[key]
    match data.draw(st.sampled_from(["replace", "replace", "replace", "remove", "double", "reverse"]), label="how"):
        case "remove":
            del holder[last]
        case "double" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        case "reverse" if isinstance(holder[last], list):
            holder[last].reverse()
        case _:
            holder[last] = data.draw(st.sampled_from([*NOTHING_THAT_VOTES, deep(12), deep(50)]), label="value")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(JSON_CASES), st.data())
def test_a_spoilt_export_is_read_or_refused_and_never_turns_a_vote_round(
    tmp_path_factory: pytest.TempPathFactory, case: Path, data: st.DataObject
):
    export = export_of(case)
    copied = tmp_path_factory.mktemp("spoilt") / export.name
    (shutil.copytree if export.is_dir() else shutil.copy)(export, copied)
    path = data.draw(st.sampled_from(documents(copied)), label="file")
    if path.suffix == ".json":
        document: Any = json.loads(path.read_text())
        spoil(document, data)
        path.write_text(json.dumps(document))
    else:
        rows: Any = [json.loads(line) for line in path.read_text().splitlines()]
        spoil(rows, data)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    head, expected = expectations(case)
    votes = {row["id"]: row for row in expected if row.get("id") is not None}
    try:
        source = opened(copied, head)
        records = list(source)
        for text, number, _ in unrated(source):
            assert isinstance(text, str)
            assert number is None or number >= 0
    except UserError:
        return
    for record in records:
        assert isinstance(record, Feedback | Pair | Refusal)
        if not isinstance(record, Refusal) and record.id in votes:
            assert not is_turned(row_to_json(record), votes[record.id])
