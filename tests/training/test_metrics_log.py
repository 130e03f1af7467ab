"""metrics.jsonl keeps step with the checkpoints."""

from pathlib import Path

import pytest

from full_disk import disk_of
from haloes.errors import DataError, RunError
from haloes.training.metrics_log import MetricsLog, read_metrics


def write(path: Path, steps: int) -> None:
    log = MetricsLog(path, from_step=0)
    for step in range(1, steps + 1):
        log.write({"step": step, "split": "train", "loss": 1 / step})


def steps(path: Path) -> list[int]:
    return [line["step"] for line in read_metrics(path)]


def test_lines_come_back_in_order_and_exactly(tmp_path: Path):
    write(tmp_path / "metrics.jsonl", 3)

    assert [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1.0, 0.5, 1 / 3]


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl", from_step=0)
    log.write({"step": 1, "split": "train"})

    assert steps(tmp_path / "metrics.jsonl") == [1]


def test_going_on_after_a_step_drops_what_will_be_done_again(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write(path, 5)

    MetricsLog(path, from_step=3).write({"step": 4, "split": "train"})

    assert steps(path) == [1, 2, 3, 4]


def test_a_new_run_starts_with_an_empty_log(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write(path, 5)

    MetricsLog(path, from_step=0)

    assert path.read_bytes() == b""


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_last_line_that_a_kill_cut_off_is_left_out(tmp_path: Path, cut: int):
    path = tmp_path / "metrics.jsonl"
    write(path, 3)
    path.write_bytes(path.read_bytes()[:-cut])

    assert steps(path) == [1, 2]
    MetricsLog(path, from_step=3).write({"step": 3, "split": "train"})
    assert steps(path) == [1, 2, 3]


@pytest.mark.parametrize("damage", [None, b"", b"\0" * 99, b"\xff{", b'{"step": 9, "split": "train"}\n'])
def test_what_the_checkpoint_has_of_the_log_is_believed_and_not_a_damaged_file(tmp_path: Path, damage: bytes | None):
    path = tmp_path / "metrics.jsonl"
    write(path, 3)
    saved = MetricsLog(path, from_step=3).text
    path.unlink() if damage is None else path.write_bytes(damage)

    log = MetricsLog(path, from_step=3, saved=saved)

    assert log.is_mended
    assert path.read_bytes() == log.text == saved


def test_a_log_that_has_gone_on_beyond_its_checkpoint_is_not_damaged(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write(path, 3)
    saved = MetricsLog(path, from_step=3).text
    write(path, 5)

    log = MetricsLog(path, from_step=3, saved=saved)
    log.write({"step": 4, "split": "train"})

    assert not log.is_mended
    assert steps(path) == [1, 2, 3, 4]
    assert log.text == path.read_bytes()


def test_a_damaged_log_does_not_stop_a_run_that_begins_anew(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\n")

    assert MetricsLog(tmp_path / "metrics.jsonl", from_step=0).text == b""


@pytest.mark.parametrize(
    "line", [b'{"stop": 1, "split": "train"}', b'{"step": "1", "split": "train"}', b'{"step": 1}', b"\xff"]
)
def test_a_damaged_line_is_named_with_its_number(tmp_path: Path, line: bytes):
    path = tmp_path / "metrics.jsonl"
    write(path, 1)
    path.write_bytes(path.read_bytes() + line + b"\n")

    with pytest.raises(DataError, match=r"metrics\.jsonl:2: "):
        read_metrics(path)


def test_no_log_is_an_empty_one(tmp_path: Path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_full_disk_is_one_line_of_what_to_do(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write(path, 3)
    log = MetricsLog(path, from_step=3)

    with (
        disk_of(path.stat().st_size + 5),
        pytest.raises(RunError, match=r"metrics\.jsonl cannot be written \(File too"),
    ):
        log.write({"step": 4, "split": "train"})

    assert steps(path) == [1, 2, 3]


def test_a_full_disk_at_the_start_leaves_the_old_log(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    write(path, 3)

    with disk_of(5), pytest.raises(RunError, match=r"metrics\.jsonl cannot be written"):
        MetricsLog(path, from_step=2)

    assert steps(path) == [1, 2, 3]
