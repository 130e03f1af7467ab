"""Records of numbers: what is written is read back, and nobody keeps a second copy of one."""

import ast
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import haloes.evaluation_results
import haloes.results
from haloes.errors import DataError
from haloes.evaluation_results import BenchmarkNumbers, Evaluation, JudgedNumbers, JudgedPair
from haloes.report.compared import ComparedRuns
from haloes.report.load import RunRecords
from haloes.results import AnswerRating, HeldOutRow, Score
from haloes.results_json import from_json, numbers_to_json, read_held_out, score_from_json, write_evaluation

PACKAGE = Path(haloes.results.__file__).parent
HOMES = (haloes.results, haloes.evaluation_results)
RECORDS = [
    thing
    for home in HOMES
    for thing in vars(home).values()
    if is_dataclass(thing) and getattr(thing, "__module__", None) == home.__name__
]

every_record = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type; lists are short, for records hold lists of records that hold lists."""
    if is_dataclass(kind):
        return st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})
    if NoneType in get_args(kind):
        return st.one_of(st.none(), *(values(one) for one in get_args(kind) if one is not NoneType))
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=2).map(tuple)
    plain = {
        bool: st.booleans(),
        int: st.integers(0, 10**6),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=5),
    }
    return plain[kind]


def classes_in(kind: Any) -> Iterator[type[Any]]:
    """The dataclasses that a type is made of, itself included."""
    if is_dataclass(kind):
        yield kind  # type: ignore[misc]
        for hint in get_type_hints(kind).values():
            yield from classes_in(hint)
    for one in get_args(kind):
        yield from classes_in(one)


@every_record
@settings(max_examples=25)
@given(st.data())
def test_what_is_written_is_read_back(kind: type[Any], data: st.DataObject):
    record = data.draw(values(kind))

    assert from_json(kind, json.loads(json.dumps(numbers_to_json(record)))) == record


@every_record
@settings(max_examples=25)
@given(st.data())
def test_every_field_is_written_in_order_under_its_name(kind: type[Any], data: st.DataObject):
    assert list(numbers_to_json(data.draw(values(kind)))) == [f.name for f in fields(kind)]


@every_record
@settings(max_examples=25)
@given(st.data())
def test_fields_of_a_later_version_are_left_aside(kind: type[Any], data: st.DataObject):
    record = data.draw(values(kind))

    assert from_json(kind, {**json.loads(json.dumps(numbers_to_json(record))), "of a later version": 1}) == record


def test_an_evaluation_has_no_number_that_is_recorded_elsewhere():
    assert set(classes_in(Evaluation)) <= {*RECORDS, Score}


def test_what_a_page_shows_of_an_evaluation_are_its_records():
    shown = get_type_hints(RunRecords)
    compared = get_type_hints(ComparedRuns)

    assert (shown["judged"], shown["benchmarks"]) == (JudgedNumbers, BenchmarkNumbers)
    assert set(classes_in(shown["ratings"])) == {AnswerRating}
    for name in ("win_rates", "auc_differences", "win_rate_differences"):
        assert set(classes_in(compared[name])) <= {*RECORDS, Score}


def test_no_record_has_a_second_copy():
    known = {record.__name__: {f.name for f in fields(record)} for record in RECORDS}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path in {Path(home.__file__) for home in HOMES}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                parts = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
                names = {target.id for target in parts if isinstance(target, ast.Name)}
                assert node.name not in known, path
                assert names not in known.values(), (path, node.name)


def test_what_an_earlier_version_did_not_write_is_empty():
    pair = {"prompt_id": "p", "candidate": "after", "baseline": "before", "judge": "j"}
    judged = from_json(JudgedNumbers, {"matchups": [], "agreement": [], "comparisons": [pair]})

    assert judged.comparisons == (JudgedPair(**pair),)
    assert (judged.ratings, judged.differences, judged.notes) == ((), (), ())


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ([1], TypeError, "expected named fields, found list"),
        ({"prompt_id": "p", "model": "after"}, KeyError, "liked"),
        ({"prompt_id": "p", "model": "after", "liked": 1}, TypeError, "liked is 1, not true or false"),
        ({"prompt_id": 1, "model": "after", "liked": True}, TypeError, "prompt_id is 1, not text"),
    ],
)
def test_what_is_no_record_is_refused(row: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        from_json(AnswerRating, row)


ROW = {"where": "f:1", "label": True, "group": "g", "answer": "a", "reward": 0.5, "logp": -1.0, "tokens": 3}


@pytest.mark.parametrize("field", [{"tokens": True}, {"tokens": 1.5}, {"reward": True}, {"reward": float("inf")}])
def test_numbers_are_numbers(field: dict[str, Any]):
    with pytest.raises((TypeError, ValueError), match=next(iter(field))):
        from_json(HeldOutRow, ROW | field)


def test_a_list_is_a_list():
    with pytest.raises(TypeError, match="notes is 'x', not a list"):
        from_json(BenchmarkNumbers, {"results": [], "notes": "x"})


def test_a_whole_number_will_do_for_a_measured_one():
    found = from_json(HeldOutRow, ROW | {"reward": 1})

    assert (found.reward, type(found.reward)) == (1.0, float)


def test_counts_and_method_of_a_score_may_be_missing():
    found = score_from_json({"name": "auc", "value": 0.6, "low": 0.5, "high": 0.7, "variant": "after"})

    assert (found.num_rows, found.num_clusters, found.method) == (0, 0, "")


def test_held_out_rows_of_earlier_runs_are_read(tmp_path: Path):
    before = {("log_ratio" if name == "reward" else name): value for name, value in ROW.items()}
    (tmp_path / "held_out.jsonl").write_text(json.dumps(before) + "\n")

    assert read_held_out(tmp_path) == [HeldOutRow(**ROW)]


@pytest.mark.parametrize(
    ("row", "message"),
    [({"label": True}, "not a held-out row: it has no 'where'"), (ROW | {"label": 1}, "label must be true or false")],
)
def test_a_damaged_held_out_row_is_named(row: dict[str, Any], message: str, tmp_path: Path):
    (tmp_path / "held_out.jsonl").write_text(json.dumps(row) + "\n")

    with pytest.raises(DataError, match=f"held_out.jsonl:1: .*{message}"):
        read_held_out(tmp_path)


@settings(max_examples=25)
@given(record=values(Evaluation))
def test_an_evaluation_on_disk_is_the_evaluation(record: Evaluation, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("run") / "evaluation.json"
    write_evaluation(path, record)

    assert from_json(Evaluation, json.loads(path.read_text(encoding="utf-8"))) == record
