"""Rows that are added as they come: kept through kills, and a file of another job stays as it is."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from full_disk import disk_of
from haloes.errors import DataError, RunError
from haloes.journal import Journal


def number(row: dict[str, object], where: str) -> int:
    if not isinstance(row.get("n"), int):
        raise DataError(f"{where}: this is no number")
    return int(str(row["n"]))


def journal(path: Path) -> Journal[int]:
    return Journal(
        path,
        first_key="n",
        load=number,
        dump=lambda n: json.dumps({"n": n}),
        advice="try again",
        advice_when_full="free some space",
    )


def test_rows_come_back_in_the_order_in_which_they_were_added(tmp_path: Path):
    kept = journal(tmp_path / "new" / "rows.jsonl")
    assert kept.resume() == []
    assert not kept.path.parent.exists()

    kept.add(3)
    kept.add(1, 2)

    assert journal(kept.path).resume() == [3, 1, 2]
    assert kept.path.read_bytes() == b'{"n": 3}\n{"n": 1}\n{"n": 2}\n'


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_last_line_that_a_kill_cut_off_is_taken_away(cut: int, tmp_path: Path):
    kept = journal(tmp_path / "rows.jsonl")
    kept.add(1, 2)
    kept.path.write_bytes(kept.path.read_bytes()[:-cut])

    assert kept.read() == [1]
    assert kept.resume() == [1]
    kept.add(3)
    assert kept.read() == [1, 3]


def test_nothing_is_cut_before_the_rows_were_checked(tmp_path: Path):
    kept = journal(tmp_path / "rows.jsonl")
    kept.path.write_bytes(b'{"n": 1}\n{"n":')
    seen = []

    def refuse(rows: Sequence[int]) -> None:
        seen.extend(rows)
        raise RunError("of another job")

    with pytest.raises(RunError, match="of another job"):
        kept.resume(refuse)

    assert seen == [1]
    assert kept.path.read_bytes() == b'{"n": 1}\n{"n":'


@pytest.mark.parametrize("content", [b'{"n": 1}\n{"m": 2}\n{"n"', b'{"m": 1', b"one", b'{"n": 1}\n[]\n'])
def test_a_file_of_something_else_stays_as_it_is(content: bytes, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"rows\.jsonl"):
        journal(path).resume()

    assert path.read_bytes() == content


def test_a_whole_file_may_be_read_only(tmp_path: Path):
    kept = journal(tmp_path / "rows.jsonl")
    kept.add(1)
    kept.path.chmod(0o400)

    assert kept.resume() == [1]


def test_rows_are_put_in_another_order_whole_or_not_at_all(tmp_path: Path):
    kept = journal(tmp_path / "rows.jsonl")
    kept.add(3, 1, 2)

    with disk_of(10), pytest.raises(RunError, match=r"rows\.jsonl cannot be written \(File too large\); try again"):
        kept.rewrite([1, 2, 3])
    assert kept.read() == [3, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]

    kept.rewrite([1, 2, 3])
    assert kept.read() == [1, 2, 3]


def test_a_row_that_does_not_fit_costs_no_other_row(tmp_path: Path):
    kept = journal(tmp_path / "rows.jsonl")
    kept.add(1)

    with disk_of(12), pytest.raises(RunError, match=r"rows\.jsonl cannot be written"):
        kept.add(2)

    assert kept.resume() == [1]


def test_a_full_disk_has_advice_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\); free some space"):
        journal(tmp_path / "rows.jsonl").add(1)
