"""Column mapping."""

import pytest

from haloes.errors import DataError
from haloes.feedback.columns import check_columns, parse_columns, rename, suggestion


def test_a_mapping_is_read_from_a_line() -> None:
    assert parse_columns("prompt=question, completion = answer,label=thumb,") == {
        "prompt": "question", "completion": "answer", "label": "thumb",
    }  # fmt: skip
    assert parse_columns("source=") == {"source": None}
    assert parse_columns("") == {}


@pytest.mark.parametrize(
    ("text", "fault"), [("prompt", "is not NAME=COLUMN"), ("=x", "is not NAME"), ("id=a,id=b", "twice")]
)
def test_a_broken_mapping_is_refused(text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        parse_columns(text)


def test_content_is_moved_and_ids_are_copied() -> None:
    row = {"question": "q", "answer": "a", "thumb": 1, "user": "ann", "label": "other"}
    mapping = {"prompt": "question", "completion": "answer", "label": "thumb", "group": "question", "user": None}
    assert rename(row, mapping) == {"prompt": "q", "completion": "a", "label": 1, "group": "q"}


def test_a_group_named_by_the_prompt_leaves_the_prompt_in_place() -> None:
    assert rename({"prompt": "q"}, {"group": "prompt"}) == {"prompt": "q", "group": "q"}


def test_columns_can_change_places() -> None:
    assert rename({"chosen": "a", "rejected": "b"}, {"chosen": "rejected", "rejected": "chosen"}) == {
        "chosen": "b", "rejected": "a",
    }  # fmt: skip


def test_a_mapped_column_that_a_row_lacks_hides_the_one_of_our_name() -> None:
    assert rename({"prompt": "old", "x": 1}, {"prompt": "question"}) == {"x": 1}


def test_no_mapping_leaves_the_row_alone() -> None:
    row = {"a": 1}
    assert rename(row, {}) is row


@pytest.mark.parametrize(
    ("mapping", "fault"),
    [
        ({"label": "thumbs"}, r"f: columns: the file has no column 'thumbs' for label; did you mean 'thumb'\?"),
        ({"lable": "thumb"}, r"f: columns: 'lable' is not a name to map to; did you mean 'label'\?"),
        (
            {"label": "thumb", "question": "prompt"},
            r"question=prompt is the wrong way round.* --columns label=thumb,prompt=q",
        ),
        ({"sorce": None}, r"f: columns: there is no column 'sorce' to leave out; did you mean 'source'\?"),
        ({"label": "zzz"}, r"no column 'zzz' for label \(there are: answer, question, source, thumb\)"),
    ],
)
def test_a_mapping_that_leads_nowhere_is_refused(mapping: dict[str, str | None], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        check_columns(mapping, seen=["question", "answer", "thumb", "source"], path="f")


def test_a_mapping_is_suggested_from_what_columns_are_called() -> None:
    assert suggestion(["question", "answer", "thumb"]) == "--columns prompt=question,completion=answer,label=thumb"
    assert suggestion(["prompt", "completion", "label_vs_x"]) == "--columns label=label_vs_x"
    assert suggestion(["prompt", "completion", "label"]).startswith("--columns prompt=")
    assert suggestion(["a", "b"]) == "--columns prompt=COLUMN,completion=COLUMN,label=COLUMN"
