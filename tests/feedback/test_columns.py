"""Column mapping."""

import shlex

import pytest

from haloes.errors import DataError
from haloes.feedback.columns import check_columns, check_used, columns_option, parse_columns, rename


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


def test_a_label_beside_chosen_and_rejected_is_refused_with_the_mapping_of_a_comparison() -> None:
    columns = {"chosen": "answer_a", "rejected": "answer_b", "label": "stars"}
    with pytest.raises(DataError) as refused:
        check_used(columns, used=["prompt", "chosen", "rejected"], format_name="paired", path="f")
    message = str(refused.value)
    assert "f: columns: label=stars is mapped, but rows of the format 'paired' have no label" in message
    assert "--columns a=answer_a,b=answer_b,preference=stars" in message
    assert message.endswith("leave it out: --columns chosen=answer_a,rejected=answer_b")


def test_names_that_every_format_reads_and_columns_left_out_are_no_mistake() -> None:
    check_used({"user": "who", "label": None}, used=["prompt", "chosen"], format_name="paired", path="f")


def test_a_mapping_is_written_as_a_shell_takes_it() -> None:
    assert columns_option({"prompt": "q", "label": "label", "source": None}) == "--columns prompt=q,source="
    assert columns_option({"a": "Variante 1"}) == "--columns 'a=Variante 1'"


@pytest.mark.parametrize("column", ["rating (1 = A, 5 = B)", "a,b", '5" screen', "plain"])
def test_a_column_with_a_comma_in_its_name_is_typed_in_double_quotes(column: str):
    columns = {"prompt": "question", "preference": column}

    assert parse_columns(shlex.split(columns_option(columns))[1]) == columns


def test_a_name_that_was_cut_at_its_comma_is_shown_with_its_quotes():
    with pytest.raises(DataError, match=r"""give --columns 'preference="rating \(1 = A, 5 = B\)"'"""):
        check_columns(parse_columns("preference=rating (1 = A, 5 = B)"), seen=["rating (1 = A, 5 = B)"], path="f.csv")
