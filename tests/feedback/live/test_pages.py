"""Pages that are kept."""

from pathlib import Path

import pytest

from haloes.errors import DataError, RunError
from haloes.feedback.live.pages import Page, Pages


def test_pages_are_read_as_they_were_written(tmp_path: Path):
    pages = Pages(tmp_path)
    first, last = Page([{"a": "\ud800 é"}], "2", {"n": 1}), Page([], None, {})
    pages.add("scores", {"q": 1}, None, first)
    pages.add("scores", {"q": 1}, "2", last)

    kept = list(pages.read("scores"))
    assert [(each.query, each.cursor, each.next, each.rows, each.meta) for each in kept] == [
        ({"q": 1}, None, "2", [{"a": "\ud800 é"}], {"n": 1}),
        ({"q": 1}, "2", None, [], {}),
    ]
    assert list(pages.read("other")) == []


def test_a_last_line_that_was_cut_is_taken_away_at_any_byte(tmp_path: Path):
    pages, path = Pages(tmp_path), tmp_path / "scores.jsonl"
    pages.add("scores", {"q": 1}, None, Page([1], None, {}))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole + whole[:end])
        assert len(list(pages.read("scores"))) == 1
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "text", ["something else", "something else\n", '{"page": 3}\n', '{"page": {}}\n{"page"', "[" * 99999 + "\n"]
)
def test_a_file_of_something_else_is_told_and_left_alone(text: str, tmp_path: Path):
    (tmp_path / "scores.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"scores.jsonl:1: this is no page that was fetched"):
        list(Pages(tmp_path).read("scores"))
    assert (tmp_path / "scores.jsonl").read_text() == text


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    with pytest.raises(RunError, match=r"cannot be written .* go on with the same command"):
        Pages(tmp_path / "gone").add("scores", {}, None, Page([], None, {}))
