"""Feedback sources: detection, mapping, refusals with their place, and errors before anything is done."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.feedback.formats.table import FORMATS
from haloes.feedback.read import FeedbackSource
from haloes.feedback.refusals import RefusalError
from haloes.records import Feedback, Message, Pair, Refusal, Where
from haloes.records_json import row_to_json
from haloes.store import write_jsonl

ROWS: list[dict[str, Any]] = [{"prompt": f"q{n}", "completion": f"a{n}", "label": n % 2 == 0} for n in range(3)]
RECORDS = [Feedback(prompt=f"q{n}", completion=f"a{n}", label=n % 2 == 0) for n in range(3)]


def saved(folder: Path, *rows: dict[str, Any], name: str = "f.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("kind", ["f.jsonl", "f.jsonl.gz", "f.json", "f.csv", "f.parquet", "folder"])
def test_the_container_makes_no_difference(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "f.json":
        path.write_text(json.dumps(ROWS))
    elif kind == "f.csv":
        path.write_text("prompt,completion,label\n" + "".join(f"q{n},a{n},{n % 2 == 0}\n" for n in range(3)))
    elif kind == "f.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "folder":
        datasets.Dataset.from_list(ROWS).save_to_disk(str(path))
    else:
        write_jsonl(path, ROWS)
    source = FeedbackSource(str(path))
    assert source.format_name == "unpaired"
    assert list(source) == list(source) == RECORDS
    lines = {"f.csv": [2, 3, 4], "f.json": [1, 1, 1]}.get(kind, [1, 2, 3])
    assert [record.where for record in source] == [Where(str(path), line) for line in lines]
    assert source.fingerprint() == FeedbackSource(str(path)).fingerprint()


def test_broken_rows_are_refused_with_their_line_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    lines = [json.dumps(row) for row in (ROWS[0], ROWS[1] | {"label": -1}, ROWS[2])]
    path.write_text("\n".join([lines[0], "{broken", "", lines[1], '{"completion": "a", "label": true}', lines[2]]))
    first, broken, wrong, lacking, last = FeedbackSource(str(path))
    assert (first, last) == (RECORDS[0], RECORDS[2])
    assert str(broken).startswith(f"{path}:2: broken JSON: Expecting property name")
    assert str(wrong).startswith(f"{path}:4: label -1 is a number other than 0 and 1")
    assert str(lacking) == f"{path}:5: the row has no prompt"
    reasons = [record.reason for record in (broken, wrong, lacking) if isinstance(record, Refusal)]
    assert reasons == ["broken JSON", "label", "missing column"]


def test_a_source_is_read_anew_each_time_and_only_as_far_as_asked(tmp_path: Path) -> None:
    source = FeedbackSource(saved(tmp_path, *ROWS))
    one, two = iter(source), iter(source)
    assert next(one) == next(two) == RECORDS[0]
    assert list(one) == list(two) == RECORDS[1:]


def test_columns_are_mapped(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "answer": "a", "thumb": "up", "who": 4},
        {"question": "q", "answer": "a", "thumb": "sideways"},
    ]
    mapping = {"prompt": "question", "completion": "answer", "label": "thumb", "user": "who"}
    first, second = FeedbackSource(saved(tmp_path, *rows), columns=mapping)
    assert first == Feedback(prompt="q", completion="a", label=True, user="4")
    assert isinstance(second, Refusal)
    assert second.message.endswith("(label is read from column 'thumb')")


def test_a_column_can_be_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path, ROWS[0] | {"source": {"not": "a name"}})
    (refused,) = FeedbackSource(path)
    assert isinstance(refused, Refusal)
    assert "--columns source=" in refused.message
    assert list(FeedbackSource(path, columns={"source": None})) == RECORDS[:1]


def test_pair_columns_are_mapped(tmp_path: Path) -> None:
    mapping = {"prompt": "question", "chosen": "good", "rejected": "bad"}
    source = FeedbackSource(saved(tmp_path, {"question": "q", "good": " Yes", "bad": " No"}), columns=mapping)
    assert (source.format_name, list(source)) == ("paired", [Pair(prompt="q", chosen=" Yes", rejected=" No")])


def test_a_format_can_be_named(tmp_path: Path) -> None:
    both = {"prompt": "q", "completion": "a", "label": True, "chosen": "c", "rejected": "d"}
    path = saved(tmp_path, both)
    assert FeedbackSource(path).format_name == "paired"
    assert list(FeedbackSource(path, format="unpaired")) == [Feedback(prompt="q", completion="a", label=True)]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"format": "unpared"}, r"there is no feedback format 'unpared'; did you mean 'unpaired'\?"),
        (
            {"format": "paired"},
            r"none of the first 1 rows has the format 'paired', which needs prompt, chosen, rejected",
        ),
        ({"columns": {"label": "lable"}}, r"the file has no column 'lable' for label; did you mean 'label'\?"),
        ({"columns": {"lable": "label"}}, r"'lable' is not a name to map to; did you mean 'label'\?"),
        ({"split": "test"}, r"a file has no splits"),
    ],
)
def test_wrong_settings_are_refused_at_once(tmp_path: Path, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        FeedbackSource(saved(tmp_path, ROWS[0]), **settings)


def test_unknown_columns_are_refused_with_what_was_seen_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        FeedbackSource(saved(tmp_path, {"question": "q", "answer": "a", "thumb": 1}))
    message = str(refused.value)
    assert "Columns seen: question, answer, thumb" in message
    assert all(f"  {name}: " in message for name in FORMATS)
    assert "--columns prompt=question,completion=answer,label=thumb" in message


def test_a_missing_label_column_is_noticed_before_a_row_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"prompt and completion are there, but neither label nor score") as refused:
        FeedbackSource(saved(tmp_path, {"prompt": "q", "completion": "a", "label_v2": 1}))
    assert "--columns label=label_v2" in str(refused.value)


def test_an_export_that_is_not_read_yet_is_named_and_can_be_mapped(tmp_path: Path) -> None:
    path = saved(tmp_path, {"prompt_input_ids": [1], "input": "q", "output": "a", "value": 1})
    with pytest.raises(DataError, match=r"this looks like already tokenised data, which is not read yet") as refused:
        FeedbackSource(path)
    assert "--columns" not in str(refused.value), "a guess at its columns would be wrong advice"
    mapping = {"prompt": "input", "completion": "output", "label": "value"}
    assert list(FeedbackSource(path, columns=mapping)) == [Feedback(prompt="q", completion="a", label=True)]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("f.jsonl", "", r"the file is empty"),
        ("f.json", "[]", r"the JSON array has no rows"),
        ("f.csv", "prompt,completion,label\n", r"the CSV has no rows"),
        ("f.jsonl", "{oops\n{oops\n", r"f.jsonl:1: broken JSON: .*none of the first 2 rows can be read as JSONL"),
        ("f.json", "just words\n", r"f.json:1: broken JSON: .*JSONL \(one object a line\)"),
        ("f.json", '[{"prompt": "q"}', r"f.json:1: broken JSON: the file ends within the array"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_at_once(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=fault):
        FeedbackSource(str(tmp_path / name))


def test_an_array_that_breaks_off_late_is_an_error_where_it_breaks(tmp_path: Path) -> None:
    text = json.dumps([ROWS[0]] * 200, indent=0)
    (tmp_path / "f.json").write_text(text[: len(text) - 20])
    source = FeedbackSource(str(tmp_path / "f.json"))
    with pytest.raises(DataError, match=r"f.json:997: broken JSON: the file ends within the array"):
        list(source)


def test_a_column_of_minus_one_and_one_is_refused_as_a_whole(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"label": 1 if n % 2 else -1} for n in range(20)]
    with pytest.raises(DataError, match=r"f.jsonl:1: the labels are numbers other than 0 and 1 \(seen: -1, 1\)"):
        FeedbackSource(saved(tmp_path, *rows))
    scored = FeedbackSource(saved(tmp_path, *rows), columns={"score": "label"})
    assert Counter(record.score for record in scored if isinstance(record, Feedback)) == {1.0: 10, -1.0: 10}


def test_stars_on_turns_are_refused_as_a_whole(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [{"messages": [turns[0], turns[1] | {"rating": 1 + n % 5}]} for n in range(20)]
    with pytest.raises(DataError, match=r"seen: 1, 2, 3, 4, 5"):
        FeedbackSource(saved(tmp_path, *rows))


def test_class_labels_are_read_by_their_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "prompt": datasets.Value("string"),
            "completion": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["good", "bad"]),
        }
    )
    rows = {"prompt": ["q", "q", "q"], "completion": ["a", "b", "c"], "label": [0, 1, -1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "set"))
    *rated, unrated = FeedbackSource(str(tmp_path / "set"))
    assert [record.label for record in rated if isinstance(record, Feedback)] == [True, False]
    assert isinstance(unrated, Refusal)
    assert unrated.reason == "no label"


words = st.text(min_size=1).filter(lambda text: bool(text.strip()))
names = st.none() | words
calls = st.sampled_from([(), ({"type": "function", "function": {"name": "f", "arguments": "{}"}},)])
asked = st.builds(Message, st.just("user"), words)
answered = st.builds(Message, st.just("assistant"), words, calls)
prompts = words.filter(lambda text: "Human:" not in text and "Assistant:" not in text) | st.builds(
    lambda first, middle, last: (*first, *middle, last),
    st.lists(st.builds(Message, st.just("system"), words), max_size=1),
    st.lists(st.builds(Message, st.sampled_from(["user", "assistant", "tool"]), st.text()), max_size=2),
    asked,
)
completions = words | st.builds(
    lambda first, middle: (*([first] if middle else []), *middle, first),
    answered,
    st.lists(st.builds(Message, st.sampled_from(["user", "tool"]), st.text()), max_size=2),
)
shared = {
    "weight": st.floats(0.001, 1000),
    "id": names,
    "group": names,
    "conversation": names,
    "user": names,
    "source": names,
    "tools": calls,
    "rated_at": st.none() | st.just("2026-03-02T11:22:33Z"),
    "comment": names,
    "hindsight": names,
}
feedback = st.builds(
    Feedback, prompt=prompts, completion=completions, label=st.booleans(),
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False), model=names, **shared,
)  # fmt: skip
scored = st.builds(
    Feedback, prompt=prompts, completion=completions,
    score=st.floats(allow_nan=False, allow_infinity=False), **shared,
)  # fmt: skip
pairs = st.builds(
    Pair,
    prompt=prompts,
    chosen=words.map("good {}".format),
    rejected=words.map("bad {}".format),
    chosen_model=names,
    **shared,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("read")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(feedback, min_size=1, max_size=3) | st.lists(scored, min_size=1, max_size=3) | st.lists(pairs, min_size=1)
)
def test_our_own_records_come_back_as_they_were(folder: Path, records: list[Feedback] | list[Pair]) -> None:
    path = folder / "records.jsonl"
    write_jsonl(path, map(row_to_json, records))
    assert list(FeedbackSource(str(path))) == records


garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["user", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "label", "type", "text"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)
COLUMNS = [
    "prompt", "completion", "label", "score", "chosen", "rejected", "messages", "conversations", "kto_tag", "input",
    "rejected_response", "rejected_messages", "instruction", "output", "history", "preferred_output", "system",
    "tools", "weight", "id",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.dictionaries(st.sampled_from(COLUMNS), garbage, max_size=8))
def test_whatever_a_row_holds_it_is_read_or_refused(name: str, row: dict[str, Any]) -> None:
    known = FORMATS[name]
    known.matches(row)
    known.labels(row)
    try:
        records = list(known.parse(row, Where("f", 1)))
    except RefusalError:
        return
    assert all(isinstance(record, Feedback | Pair | Refusal) for record in records)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["f.jsonl", "f.json", "f.csv", "f.parquet", "f.jsonl.gz"]), st.data())
def test_whatever_the_bytes_are_they_are_read_or_a_data_error(folder: Path, name: str, data: st.DataObject) -> None:
    path = folder / name
    if name == "f.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name == "f.csv":
        path.write_text("prompt,completion,label\n" + "q,a,1\n" * 4)
    elif name == "f.json":
        path.write_text(json.dumps(ROWS))
    else:
        write_jsonl(path, ROWS)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4), label="times")):
        at = data.draw(st.integers(0, len(content)), label="at")
        content[at : at + data.draw(st.integers(0, 3), label="cut")] = data.draw(st.binary(max_size=3), label="added")
    path.write_bytes(content)
    with suppress(DataError):
        assert all(isinstance(record, Feedback | Pair | Refusal) for record in FeedbackSource(str(path)))


def test_reading_feedback_loads_none_of_the_heavy_libraries() -> None:
    heavy = {"torch", "transformers", "datasets", "pyarrow", "pydantic", "rich"}
    program = f"import sys, haloes.feedback.read; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
