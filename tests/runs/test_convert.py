"""Any feedback file as canonical records: what is written is read back as the same."""

import gzip
from pathlib import Path

import pytest

from haloes.errors import ConfigError, DataError
from haloes.feedback.read import FeedbackSource
from haloes.progress.contract import NullProgress
from haloes.records import Feedback, Message, Pair
from haloes.runs.config_layers import make_config
from haloes.runs.convert import write_records
from tiny_runs import pairs, thumbs, write_rows


def convert(source: Path, out: Path, *, to_pairs: bool = False, **feedback: object) -> tuple[int, dict[str, int]]:
    settings = make_config({"feedback": {"source": str(source), **feedback}}).feedback
    written = write_records(settings, out, pairs=to_pairs, progress=NullProgress())
    return written.num, dict(written.refused)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_what_is_written_is_read_back_as_the_same_records(name: str, tmp_path: Path):
    rows = [
        {
            "prompt": [{"role": "system", "content": "é"}, {"role": "user", "content": f"Q{i}"}],
            "completion": [{"role": "assistant", "content": f"A{i}"}],
            "label": i % 2 == 0,
            "weight": 2.5,
            "id": f"r{i}",
            "user": "u",
            "conversation": "c",
        }
        for i in range(4)
    ]
    source = write_rows(tmp_path / "in.jsonl", rows)

    assert convert(source, tmp_path / name) == (4, {})
    assert list(FeedbackSource(str(tmp_path / name))) == list(FeedbackSource(str(source)))
    first = next(iter(FeedbackSource(str(tmp_path / name))))
    assert isinstance(first, Feedback)
    assert first.prompt == (Message("system", "é"), Message("user", "Q0"))
    assert (first.label, first.weight, first.id) == (True, 2.5, "r0")


def test_a_name_that_ends_in_gz_is_gzipped(thumbs_file: Path, tmp_path: Path):
    convert(thumbs_file, tmp_path / "out.jsonl.gz")

    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).count(b"\n") == 32


def test_pairs_become_single_answers_and_pairs_again(tmp_path: Path):
    source = write_rows(tmp_path / "pairs.jsonl", pairs(5))

    assert convert(source, tmp_path / "single.jsonl") == (10, {})
    assert convert(tmp_path / "single.jsonl", tmp_path / "again.jsonl", to_pairs=True) == (5, {})
    again = list(FeedbackSource(str(tmp_path / "again.jsonl")))
    assert Pair(prompt="Is 2 it?", chosen="yes yes 2", rejected="no no 2") in again
    assert len(again) == 5


def test_scores_become_labels(tmp_path: Path):
    rows = [{"prompt": f"p{i}", "completion": "c", "score": i} for i in range(5)]
    source = write_rows(tmp_path / "s.jsonl", rows)

    assert convert(source, tmp_path / "out.jsonl", labels_from={"rule": "mean"}) == (4, {"no verdict": 1})
    labels = [row.label for row in FeedbackSource(str(tmp_path / "out.jsonl")) if isinstance(row, Feedback)]
    assert labels == [False, False, True, True]


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path):
    rows = [*thumbs(2), {"prompt": "p", "completion": "c", "label": -1}, {"prompt": "p", "completion": "c"}]
    source = write_rows(tmp_path / "f.jsonl", rows)

    assert convert(source, tmp_path / "out.jsonl") == (4, {"label": 1, "no label": 1})


def test_nothing_is_written_where_no_row_can_be_used(tmp_path: Path):
    source = write_rows(tmp_path / "f.jsonl", [{"prompt": "p", "completion": "c", "label": None}] * 3)

    with pytest.raises(DataError, match=r"f\.jsonl: no row can be used: 3 x no label"):
        convert(source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json", "out.csv"])
def test_other_endings_are_refused(name: str, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"ends in \.jsonl, \.jsonl\.gz or \.parquet"):
        convert(thumbs_file, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_file_that_stands_there_stays_until_the_new_one_is_whole(tmp_path: Path):
    (tmp_path / "out.jsonl").write_text("old")
    source = write_rows(tmp_path / "f.jsonl", [{"prompt": "p", "completion": "c", "label": None}])

    with pytest.raises(DataError):
        convert(source, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "old"
