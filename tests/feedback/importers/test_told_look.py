"""How far the first look at an export is, which reads all of it before the first record is there."""

import json
from pathlib import Path

from haloes.feedback.read import FeedbackSource
from haloes.progress.contract import NullProgress
from haloes.runs.feedback_rows import Rows, tell_reading


class Told(NullProgress):
    """Keeps the stages, each with its total and what was done of it."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None, float]] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append((name, total, 0))

    def advance(self, count: float) -> None:
        name, total, done = self.stages.pop()
        self.stages.append((name, total, done + count))


def told(path: Path) -> list[tuple[str, int | None, float]]:
    progress = Told()
    rows = list(tell_reading(Rows(FeedbackSource(str(path)), lambda rows: rows), progress, "reading feedback"))
    assert len(rows) == 1000
    return progress.stages


def test_votes_and_the_calls_that_they_are_on_are_counted_as_they_are_read(tmp_path: Path) -> None:
    for folder in ("scores", "observations_v2"):
        (tmp_path / folder).mkdir()
    with (tmp_path / "scores/a.jsonl").open("w") as scores, (tmp_path / "observations_v2/a.jsonl").open("w") as calls:
        for i in range(1000):
            named = {"trace_id": f"t{i}", "id": f"o{i}"}
            score = {"data_type": "BOOLEAN", "value": 1, "source": "API", "name": "thumb"}
            scores.write(json.dumps({"trace_id": f"t{i}", "id": f"s{i}", "observation_id": f"o{i}", **score}) + "\n")
            call = {"type": "GENERATION", "parent_observation_id": "", "input": "Time?", "output": "Noon."}
            calls.write(json.dumps({**named, **call}) + "\n")

    assert told(tmp_path) == [
        # The scores once and the calls once, told by 256 rows of each.
        ("looking through the export", 2000, 2 * 768),
        # Then the votes: the file's 1,000 lines, told at the 1st, 257th, 513th and 769th row.
        ("looking through the export", 1000, 769),
        ("reading feedback", 1000, 769),
    ]


def test_an_export_that_is_one_line_is_counted_in_rows(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Time?"}, {"role": "assistant", "content": "Noon."}]
    records = [
        {
            "id": i,
            "fields": {"prompt": turns[0]["content"], "response": turns[1]["content"]},
            "responses": [{"user_id": i, "status": "submitted", "values": {"thumb": {"value": "good"}}}],
        }
        for i in range(1000)
    ]
    (tmp_path / "records.json").write_text(json.dumps(records))

    stages = told(tmp_path / "records.json")

    assert [(name, total) for name, total, _ in stages[1:]] == [
        ("looking through the export", None),
        ("reading feedback", None),
    ]
    assert [done for *_, done in stages[1:]] == [768, 768]


def test_rows_that_are_no_export_are_told_in_lines_of_their_file(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "Time?", "completion": "Noon.", "label": True})
    (tmp_path / "rows.jsonl").write_text(f"{row}\n" * 1000)

    assert told(tmp_path / "rows.jsonl") == [("reading feedback", 1000, 769)]
