"""A benchmark's rows from a local folder."""

from pathlib import Path

import pytest

import bench_rows
from haloes.errors import DataError
from haloes.evaluation.bench.rows import read_split
from haloes.store import write_parquet

ROWS = [{"question": "1 + 1?", "answer": "2"}, {"question": "2 + 2?", "answer": "4"}]


@pytest.mark.parametrize("name", ["test.jsonl", "test.jsonl.gz"])
def test_rows_are_read_as_jsonl(tmp_path: Path, name: str):
    bench_rows.write(tmp_path / "gsm8k" / name, ROWS)
    assert read_split(tmp_path, "gsm8k", "main", "test") == ROWS


def test_rows_are_read_as_parquet_and_in_the_hub_s_own_shards(tmp_path: Path):
    (tmp_path / "gsm8k" / "main").mkdir(parents=True)
    for i, row in enumerate(ROWS):
        write_parquet(tmp_path / "gsm8k" / "main" / f"test-0000{i}-of-00002.parquet", [row])
    write_parquet(tmp_path / "gsm8k" / "train.parquet", ROWS)
    assert read_split(tmp_path, "gsm8k", "main", "test") == ROWS
    assert read_split(tmp_path, "gsm8k", "main", "train") == ROWS


def test_rows_of_a_part_are_never_those_of_the_whole(tmp_path: Path):
    bench_rows.bbh(tmp_path, ["navigate"])
    bench_rows.write(tmp_path / "bbh" / "test.jsonl", [{"input": "x", "target": "y"}])
    assert len(read_split(tmp_path, "bbh", "navigate", "test")) == 2
    with pytest.raises(DataError, match=r"bbh/snarks/test.jsonl, .* does not exist; .* the columns input, target"):
        read_split(tmp_path, "bbh", "snarks", "test")


def test_the_same_rows_twice_are_refused(tmp_path: Path):
    bench_rows.write(tmp_path / "gsm8k" / "test.jsonl", ROWS)
    bench_rows.write(tmp_path / "gsm8k" / "test.jsonl.gz", ROWS)
    with pytest.raises(DataError, match="are there twice"):
        read_split(tmp_path, "gsm8k", "main", "test")


def test_damage_is_named_by_file_and_line(tmp_path: Path):
    path = bench_rows.write(tmp_path / "gsm8k" / "test.jsonl", [ROWS[0], {"question": "no answer"}])
    with pytest.raises(DataError, match=r"test\.jsonl:2: a row of gsm8k has question, answer; here answer is missing"):
        read_split(tmp_path, "gsm8k", "main", "test")
    path.write_text("{")
    with pytest.raises(DataError, match=r"test\.jsonl:1: broken JSON"):
        read_split(tmp_path, "gsm8k", "main", "test")
    path.write_text("\n")
    with pytest.raises(DataError, match="there is no row in it"):
        read_split(tmp_path, "gsm8k", "main", "test")
