"""Judgements on disk: kept through kills, refused where they are damaged."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import ConfigError, DataError, RunError
from haloes.judging.run import judgement_file, put_in_order
from haloes.records import Judgement, judgement_from_json, to_json

shares = st.none() | st.floats(0, 1)
judgements = st.builds(
    Judgement,
    prompt_id=st.text(),
    candidate=st.text(),
    baseline=st.text(),
    candidate_first=st.booleans(),
    verdict=st.sampled_from([None, "first", "second", "tie"]),
    preference=shares,
    reply=st.text(),
    reason=st.text(),
    judge=st.text(),
    template=st.text(),
    seed=st.none() | st.integers(),
    draw=st.integers(0, 5),
    fingerprint=st.text(),
    cost=shares,
)


def made(name: str, **fields: Any) -> Judgement:
    return Judgement(
        prompt_id=name, candidate="a", baseline="b", candidate_first=True, judge="j", fingerprint=name, **fields
    )


def test_what_is_added_is_there_at_once(tmp_path: Path):
    path = tmp_path / "new" / "j.jsonl"
    journal = judgement_file(path)
    assert not path.exists()
    journal.add(made("a", verdict="first"))
    assert judgement_file(path).resume() == [made("a", verdict="first")]
    journal.add(made("b", reply="ü\n"))
    assert judgement_file(path).resume() == [made("a", verdict="first"), made("b", reply="ü\n")]


@pytest.mark.parametrize("left", [1, 5, 40])
def test_a_line_that_a_kill_cut_off_is_taken_away(left: int, tmp_path: Path):
    path = tmp_path / "j.jsonl"
    for name in "abc":
        judgement_file(path).add(made(name))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:left])

    again = judgement_file(path)
    assert [judgement.prompt_id for judgement in again.resume()] == ["a", "b"]
    again.add(made("d"))
    assert [judgement.prompt_id for judgement in judgement_file(path).resume()] == ["a", "b", "d"]


def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path):
    (tmp_path / "j.jsonl").write_bytes(b'{"prompt": "a"}\n{"prompt": "b"}')
    with pytest.raises(DataError, match=r"j\.jsonl:1: this is not a judgement"):
        judgement_file(tmp_path / "j.jsonl").resume()
    assert (tmp_path / "j.jsonl").read_bytes() == b'{"prompt": "a"}\n{"prompt": "b"}'


def test_an_empty_file_is_a_beginning(tmp_path: Path):
    (tmp_path / "j.jsonl").write_text("")
    assert judgement_file(tmp_path / "j.jsonl").resume() == []


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"prompt_id": "a"}'])
def test_a_whole_line_that_is_no_judgement_is_named(line: str, tmp_path: Path):
    (tmp_path / "j.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"j\.jsonl:1"):
        judgement_file(tmp_path / "j.jsonl").resume()


def test_lines_are_put_in_order(tmp_path: Path):
    journal = judgement_file(tmp_path / "j.jsonl")
    for name in "cxab":
        journal.add(made(name))
    put_in_order(journal, journal.resume(), {"a": 0, "b": 1, "c": 2})
    assert [judgement.prompt_id for judgement in journal.resume()] == ["a", "b", "c", "x"]


def test_a_compressed_file_cannot_be_added_to(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"ends in \.jsonl"):
        judgement_file(tmp_path / "j.jsonl.gz")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        judgement_file(tmp_path / "file" / "j.jsonl").add(made("a"))


@given(judgements)
def test_a_judgement_comes_back_as_it_was(judgement: Judgement):
    assert judgement_from_json(to_json(judgement), where="f:1") == judgement


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "A"),
        ("verdict", 1),
        ("preference", 1.5),
        ("preference", True),
        ("candidate_first", 1),
        ("prompt_id", 3),
        ("judge", None),
        ("reply", []),
        ("seed", {}),
    ],
)
def test_a_field_that_is_wrong_is_named(field: str, value: object):
    with pytest.raises(DataError, match=f"f:1: {field} cannot be"):
        judgement_from_json({**to_json(made("a")), field: value}, where="f:1")


@pytest.mark.parametrize(
    ("verdict", "candidate_first", "points"),
    [
        ("first", True, 1.0),
        ("first", False, 0.0),
        ("second", True, 0.0),
        ("second", False, 1.0),
        ("tie", True, 0.5),
        ("tie", False, 0.5),
        (None, True, None),
        (None, False, None),
    ],
)
def test_points_are_the_candidates(verdict: Any, candidate_first: bool, points: float | None):
    judgement = Judgement(
        prompt_id="p", candidate="a", baseline="b", candidate_first=candidate_first, judge="j", verdict=verdict
    )
    assert judgement.points == points
