"""Rows in memory: read, refused and counted as those of a file, and named by what they were."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from haloes.errors import DataError
from haloes.feedback.in_memory import write_in_memory
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Message, Pair, Refusal, Where

ROWS = [{"prompt": f"Is {i} it?", "completion": f"yes {i}", "label": i % 2 == 0} for i in range(6)]


class Capsule:
    """What is left of a polars DataFrame to who asks for its stream."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


FORMS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "pyarrow": pa.Table.from_pylist,
    "arrow stream": lambda rows: Capsule(pa.Table.from_pylist(rows)),
    "datasets": datasets.Dataset.from_list,
    "dict of splits": lambda rows: datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}),
    "list of dicts": list,
    "tuple": tuple,
    "generator": lambda rows: (row for row in rows),
    "records": lambda rows: [Feedback(**row) for row in rows],
}


def read(rows: Any, folder: Path) -> list[Any]:
    return list(FeedbackSource(str(write_in_memory(rows, folder, part="feedback"))))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_records_that_a_file_gives(form: str, tmp_path: Path):
    assert read(FORMS[form](ROWS), tmp_path) == [Feedback(**row) for row in ROWS]


def test_pairs_and_chats_may_be_given_as_records_as_dicts_and_in_arrays(tmp_path: Path):
    turns = [{"role": "user", "content": "Hi"}]
    frame = pd.DataFrame(
        {
            "prompt": [np.array(turns, dtype=object)] * 2,
            "chosen": [[{"role": "assistant", "content": f"yes {i}"}] for i in range(2)],
            "rejected": [[{"role": "assistant", "content": f"no {i}"}] for i in range(2)],
        }
    )
    found = read(frame, tmp_path)
    assert read([*found], tmp_path) == found
    assert found[0].prompt == (Message("user", "Hi"),)
    assert isinstance(found[0], Pair)


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT])
def test_what_is_missing_is_a_row_without_label(missing: Any, tmp_path: Path):
    rows = [*ROWS, {"prompt": "Is it?", "completion": "yes", "label": missing}]

    for form in (rows, pd.DataFrame(rows, dtype=object)):
        *_, last = read(form, tmp_path)
        assert isinstance(last, Refusal)
        assert last.reason == "no label"


@pytest.mark.parametrize(
    "labels",
    [
        np.array([True, False, True, False, True, False]),
        np.array([1, 0, 1, 0, 1, 0], dtype=np.int8),
        pd.array([True, False, True, False, True, False], dtype="boolean"),
        pd.array([1, 0, 1, 0, 1, 0], dtype="Int64"),
        [1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
        ["up", "down"] * 3,
    ],
    ids=["bool", "int8", "boolean", "Int64", "float", "words"],
)
def test_labels_may_be_booleans_and_integers_of_numpy_and_pandas(labels: Any, tmp_path: Path):
    frame = pd.DataFrame(ROWS).assign(label=labels)

    assert [row.label for row in read(frame, tmp_path)] == [True, False] * 3
    assert [row.label for row in read(frame.to_dict("records"), tmp_path)] == [True, False] * 3


def test_integers_beside_missing_ones_stay_labels_although_pandas_makes_floats_of_them(tmp_path: Path):
    frame = pd.DataFrame(ROWS).assign(label=[1, 0, None, 1, 0, 1])
    found = read(frame, tmp_path)

    assert [row.label for row in found if isinstance(row, Feedback)] == [True, False, True, False, True]
    assert [str(row) for row in found if isinstance(row, Refusal)] == [
        "row 3 of the DataFrame: the row has neither a label nor a score: nobody rated this answer"
    ]


def test_the_names_of_class_labels_are_labels(tmp_path: Path):
    text = datasets.Value("string")
    kinds = {"prompt": text, "completion": text, "label": datasets.ClassLabel(names=["bad", "good"])}
    features = datasets.Features(kinds)
    made = datasets.Dataset.from_list([{**row, "label": int(row["label"])} for row in ROWS], features=features)

    for form in (made, made.select([0, 1, 2, 3, 4, 5]), made.data.table):
        assert [row.label for row in read(form, tmp_path)] == [True, False] * 3


def test_a_row_is_named_by_its_number_and_by_what_held_it(tmp_path: Path):
    rows = pd.DataFrame([*ROWS, {"prompt": "", "completion": "yes", "label": True}])
    *_, refused = read(rows, tmp_path)

    assert str(refused).startswith("row 7 of the DataFrame: ")
    path = write_in_memory(ROWS, tmp_path, part="validation")
    assert str(Where(str(path), 3)) == "row 3 of the validation list"


def test_columns_that_no_format_knows_are_told_as_those_of_a_file(tmp_path: Path):
    with pytest.raises(DataError, match=r"^the DataFrame: no known format fits .*\nColumns seen: q, a, thumb\n"):
        read(pd.DataFrame({"q": ["x"], "a": ["y"], "thumb": [1]}), tmp_path)


def test_a_column_that_is_not_needed_may_hold_anything_and_one_that_is_needed_is_refused(tmp_path: Path):
    extra = {"when": pd.Timestamp("2024-01-02"), "price": Decimal("1.5"), "blob": b"\x89", "far": float("inf")}
    found = read([{**row, **extra} for row in ROWS], tmp_path)
    assert len([row for row in found if isinstance(row, Feedback)]) == 6

    line = json.loads((tmp_path / "list.feedback.rows.jsonl").read_text().splitlines()[0])
    assert line["when"] == "2024-01-02T00:00:00"
    assert line["price"] == 1.5
    [refused] = [row for row in read([*ROWS, {**ROWS[0], "completion": b"yes"}], tmp_path) if isinstance(row, Refusal)]
    assert refused.reason in {"wrong type", "content part"}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "the list has no rows"),
        (pd.DataFrame({"prompt": []}), "the DataFrame has no rows"),
        (["yes", "no"], "row 1 of the list is a str, not a dict"),
        ({"prompt": "p", "completion": "c", "label": True}, "is a single row; put it into a list"),
        ({"test": ROWS}, r'no split "train" \(there are: test\)'),
        (17, "the int has no rows that can be read"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of one name"),
    ],
)
def test_what_has_no_rows_is_refused_with_what_to_give(rows: Any, says: str, tmp_path: Path):
    with pytest.raises(DataError, match=says):
        write_in_memory(rows, tmp_path, part="feedback")
