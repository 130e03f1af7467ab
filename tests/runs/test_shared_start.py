"""Processes on several machines: one folder, the same programs, feedback and model; else all say what differs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from haloes.errors import RunError
from haloes.progress.contract import NullProgress
from haloes.runs import shared_start
from haloes.runs.shared_start import check_same, in_one_folder
from haloes.training.distributed import Ranks
from haloes.training.process_group import ProcessGroup


@dataclass
class OtherMachine:
    """A stand-in for the connection with a process on another machine, which says the same but for this."""

    differs: Mapping[str, Any]
    met: list[str] = field(default_factory=list)

    def from_main(self, value: bytes) -> bytes:
        return value

    def from_all(self, value: bytes) -> list[bytes]:
        return [value, json.dumps({**json.loads(value), "host": "node1", **self.differs}).encode()]

    def meet(self) -> None:
        self.met.append("met")


def ranks(**differs: Any) -> Ranks:
    return Ranks(0, 2, cast("ProcessGroup", OtherMachine(differs)))


class Notes(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_machines_that_share_the_folder_and_have_the_same_programs_are_told_in_one_line(tmp_path: Path):
    progress = Notes()
    with in_one_folder(tmp_path, ranks(), progress):
        pass

    (line,) = progress.notes
    assert line.startswith(f"2 machines share {tmp_path} (")
    assert ", node1), each with haloes " in line
    assert list(tmp_path.iterdir()) == []


def test_a_process_alone_looks_at_nothing_and_says_nothing(tmp_path: Path):
    progress = Notes()
    with in_one_folder(tmp_path / "none", Ranks(0, 1), progress):
        check_same(Ranks(0, 1), {"data set": "a"})

    assert progress.notes == []


@pytest.mark.parametrize(
    ("differs", "message"),
    [
        ({"sees": False}, r"process 1 on node1 does not see what process 0 on .* \(--out\)"),
        ({"torch": "2.0"}, r"process 1 on node1 has torch 2.0, and process 0 on .* install the same on all machines"),
        ({"haloes": "0.0"}, "process 1 on node1 has haloes 0.0"),
    ],
)
def test_what_a_machine_does_not_have_is_told_before_anything_is_read(
    differs: Mapping[str, Any], message: str, tmp_path: Path
):
    with pytest.raises(RunError, match=message), in_one_folder(tmp_path, ranks(**differs), NullProgress()):
        pytest.fail("it went on")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_waited_for_and_then_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_start, "_APPEARS", 0.2)

    assert not shared_start._appears(tmp_path / "none")


def test_feedback_that_is_not_the_same_everywhere_is_named():
    has = {"data set": "one", "tokenizer": "t"}
    check_same(ranks(), has)
    with pytest.raises(RunError, match=r"process 1 on node1 and process 0 on .* do not have the same data set"):
        check_same(ranks(has={**has, "data set": "other"}), has)
    with pytest.raises(RunError, match="do not have the same model"):
        check_same(ranks(has={**has, "model": "m"}), has)
