"""One process at a time at a folder or file: the others are told who is there, and nothing outlives its holder."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from haloes.errors import RunError
from haloes.locks import LOCK, hold_file, hold_folder
from haloes.store import remove_strays

HOLD = """
import sys
from pathlib import Path
from haloes.locks import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_another_process_holds_is_refused_with_its_number_and_host_until_it_is_killed(tmp_path: Path):
    folder = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(RunError, match=rf"run is in use by process {other.pid} on \S+, since \d{{4}}-"),
            hold_folder(folder),
        ):
            pass
        assert [path.name for path in folder.iterdir()] == [LOCK]  # who is refused takes nothing away
        other.kill()
        other.wait()

    assert (folder / LOCK).exists()
    with hold_folder(folder) as is_held:
        assert is_held


def test_a_file_is_held_by_one_alone_in_one_process_too(tmp_path: Path):
    with hold_file(tmp_path / "rows.jsonl") as is_held:
        assert is_held
        with (
            pytest.raises(RunError, match=rf"rows\.jsonl is in use by process {os.getpid()} "),
            hold_file(tmp_path / "rows.jsonl"),
        ):
            pass
        with hold_file(tmp_path / "other.jsonl"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_come_and_go_there_is_never_more_than_one_in_a_folder_that_comes_and_goes_too(tmp_path: Path):
    inside, entered, most = [0], [0], [0]
    gate = threading.Lock()

    def work() -> None:
        for _ in range(150):
            try:
                with hold_folder(tmp_path / "run"):
                    with gate:
                        inside[0] += 1
                        entered[0] += 1
                        most[0] = max(most[0], inside[0])
                    with gate:
                        inside[0] -= 1
            except RunError:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1]
    assert entered[0] > 0
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "run"])


def test_a_new_folder_goes_again_where_nothing_came_of_it_and_an_old_one_stays(tmp_path: Path):
    (tmp_path / "old").mkdir()
    for name in ("old", "new", "kept"):
        with hold_folder(tmp_path / name):
            if name == "kept":
                (tmp_path / name / "result").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "old"]


def test_a_file_system_without_locks_is_told_and_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)

    with hold_folder(tmp_path / "run") as is_held:
        assert not is_held


@pytest.mark.parametrize("said", [b"", b"\xff\x00", b"[]", b'{"process": "many"}', b'{"process": 1}'])
def test_a_lock_that_does_not_say_whose_it_is_holds_as_well(said: bytes, tmp_path: Path):
    with hold_folder(tmp_path / "run"):
        (tmp_path / "run" / LOCK).write_bytes(said)
        with pytest.raises(RunError, match="is in use by another process"), hold_folder(tmp_path / "run"):
            pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(RunError, match=r"file/run cannot be made \(Not a directory\)"),
        hold_folder(tmp_path / "file" / "run"),
    ):
        pass


def test_temporary_files_of_the_killed_are_removed_and_those_of_the_living_and_of_others_stay(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait()
    (tmp_path / "data").mkdir()
    names = [
        f".config.yaml.{gone.pid}-0123abcd.tmp",
        f"data/.prompts.jsonl.{gone.pid}-0123abcd.tmp",
        f".report.html.{os.getppid()}-0123abcd.tmp",
        ".mine.tmp",
    ]
    for name in names:
        (tmp_path / name).touch()

    remove_strays(tmp_path)

    assert [(tmp_path / name).exists() for name in names] == [False, False, True, True]
