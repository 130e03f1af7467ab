"""A system prompt that the feedback lacks."""

import json
from pathlib import Path

import pytest

from haloes.errors import DataError
from haloes.feedback.read import FeedbackSource
from haloes.records import Message, Refusal

TURNS = [{"role": "system", "content": "Own."}, {"role": "user", "content": "q"}]
ROWS = [
    {"prompt": "q", "completion": "a", "label": True},
    {"prompt": TURNS, "completion": "a", "label": True},
    {"prompt": "q", "completion": "", "label": True},
]


def saved(folder: Path, system: bytes) -> tuple[str, str]:
    (folder / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "system.txt").write_bytes(system)
    return str(folder / "f.jsonl"), str(folder / "system.txt")


def test_it_goes_before_rows_that_have_none(tmp_path: Path):
    path, system = saved(tmp_path, b"\xef\xbb\xbfBe brief.\n")
    plain, own, refused = FeedbackSource(path, system=system)
    assert not isinstance(plain, Refusal)
    assert plain.prompt == (Message("system", "Be brief."), Message("user", "q"))
    assert not isinstance(own, Refusal)
    assert own.prompt == (Message("system", "Own."), Message("user", "q"))
    assert isinstance(refused, Refusal)


def test_other_words_are_other_feedback(tmp_path: Path):
    path, system = saved(tmp_path, b"Be brief.")
    with_system = FeedbackSource(path, system=system).fingerprint()
    Path(system).write_text("Be kind.")
    prints = {FeedbackSource(path).fingerprint(), with_system, FeedbackSource(path, system=system).fingerprint()}
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b" \n", "it is blank"), (b"\xff\xfe", "byte 0 is not UTF-8"), (b"x" * 2_000_000, "which no system prompt is")],
)
def test_a_file_that_is_none_is_told_before_a_row_is_read(tmp_path: Path, content: bytes, fault: str):
    path, system = saved(tmp_path, content)
    with pytest.raises(DataError, match=fault):
        FeedbackSource(path, system=system)
    Path(system).unlink()
    with pytest.raises(DataError, match="there is no such file"):
        FeedbackSource(path, system=system)
