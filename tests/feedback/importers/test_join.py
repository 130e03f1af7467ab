"""Votes and answers in different rows."""

import json
from pathlib import Path

import pytest

from haloes.errors import DataError
from haloes.feedback.importers.export import open_export
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.tree import Trees
from haloes.feedback.importers.values import as_id
from haloes.feedback.refusals import RefusalError
from haloes.records import Where


def test_rows_are_found_by_any_of_their_keys_in_the_order_of_the_file():
    rows = [(Where("f", n), {"id": f"r{n}", "trace": "t", "half": "\ud800"}) for n in range(3)]
    with Lookup(rows, lambda row: [as_id(row["id"]), as_id(row["trace"])]) as found:
        assert found.rows("r1") == rows[1:2]
        assert found.rows("t") == rows
        assert found.rows("\ud800") == found.rows(None) == []
        assert not found.faults


def test_only_wanted_rows_are_kept_and_unreadable_ones_are_told():
    rows = [
        (Where("f", 1), {"id": 1}),
        (Where("f", 2), RefusalError("broken JSON", "broken")),
        (Where("f", 3), {"id": 3}),
    ]
    with Lookup(rows, lambda row: [as_id(row["id"])], wanted={"3"}) as found:
        assert found.rows("1") == []
        assert found.rows("3") == rows[2:]
        assert [str(fault.where) for fault in found.faults] == ["f:2"]


def test_a_folder_is_opened_as_its_files_and_pages_as_their_rows(tmp_path: Path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "1.json").write_text(json.dumps({"data": [{"id": "s1"}, 7], "meta": {"page": 1}}))
    (tmp_path / "runs.csv").write_text("id,output\nr1,yes\n")
    (tmp_path / ".hidden.json").write_text("[]")
    (tmp_path / "notes.md").write_text("no data")
    export = open_export(str(tmp_path))
    assert export is not None
    assert [file.name for file in export.files] == ["runs.csv", "scores/1.json"]
    assert [file.kind for file in export.files] == ["CSV", "JSONL"]
    scores = export.with_columns("id", "output")
    assert scores is not None
    assert [row for _, row in scores.rows()] == [{"id": "r1", "output": "yes"}]
    assert [str(where) for where, _ in export.files[1].rows()] == [f"{tmp_path}/scores/1.json:{n}" for n in (1, 2)]
    assert isinstance(list(export.rows())[2][1], RefusalError)


def test_a_folder_whose_files_link_to_others_is_refused(tmp_path: Path):
    (tmp_path / "secret.json").write_text("{}")
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "a.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(DataError, match="lies outside of the folder"):
        open_export(str(folder))


def test_the_tree_of_a_chat_is_made_once_for_the_votes_that_follow_each_other():
    rows = [
        (Where("f", n), {"id": f"m{n}", "chat": f"c{n // 2}", "before": f"m{n - 1}" if n % 2 else None})
        for n in range(4)
    ]
    with Lookup(rows, lambda row: [as_id(row["chat"])]) as found:
        trees = Trees(found, parent=lambda message: message["before"])
        first = trees.of("c0")
        assert trees.of("c0") is first
        assert [message["id"] for message in first.before(first.node("m1"))] == ["m0"]
        assert list(trees.of("c1").nodes) == ["m2", "m3"]
        assert not trees.of(None).nodes
