"""`--processes N`: what is refused, and that the processes are given the command that was given."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haloes.cli.flags import ProcessOptions
from haloes.cli.main import app, run
from haloes.cli.processes import as_arguments, goes_on, starts_others
from haloes.errors import ConfigError
from haloes.progress.contract import NullProgress
from haloes.runs.launched import LAUNCHER, own_output

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], Any]]:
    """What would be started, each time with the machines."""
    import haloes.runs.launch

    found: list[tuple[Sequence[str], Any]] = []

    def launch(command: Sequence[str], count: int, machines: Any, run_dir: Path, *, max_restarts: int) -> int:
        found.append((command[3:], (count, machines, run_dir, max_restarts)))
        return 130

    monkeypatch.setattr(haloes.runs.launch, "launch", launch)
    return found


def test_train_starts_itself_in_the_folder_that_it_chose_and_ends_as_they_do(
    model: Path, thumbs_file: Path, tmp_path: Path, commands: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert run(["train", str(thumbs_file), "--model", str(model), "--processes", "2", "--max-restarts", "3"]) == 130
    ((command, (count, machines, run_dir, max_restarts)),) = commands
    assert command == [
        "train",
        str(thumbs_file),
        f"--model={model}",
        "--out=runs/thumbs-kto-1",
        "--processes=2",
    ]
    assert (count, machines.count, run_dir, max_restarts) == (2, 1, Path("runs/thumbs-kto-1"), 3)
    assert not Path("runs").exists()


def test_resume_starts_itself_on_each_of_several_machines(tmp_path: Path, commands: Any):
    arguments = ["--nodes", "2", "--node-rank", "1", "--rendezvous", "node0:29400", "--set", "train.epochs=2"]

    assert run(["resume", str(tmp_path), "--allow-changes", "--processes", "4", *arguments]) == 130
    ((command, (count, machines, run_dir, _)),) = commands
    assert command[:3] == ["resume", str(tmp_path), "--allow-changes"]
    assert command[3:] == [
        "--processes=4",
        "--nodes=2",
        "--node-rank=1",
        "--rendezvous=node0:29400",
        "--set=train.epochs=2",
    ]
    assert (count, machines.index, machines.host, machines.port, run_dir) == (4, 1, "node0", 29400, tmp_path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    model=st.none() | texts,
    system=st.none() | texts,
    scrub=st.booleans(),
    lr=st.none() | st.floats(min_value=1e-9, max_value=1) | st.just("auto"),
    batch_size=st.none() | st.integers(1, 10**6),
    sets=st.lists(texts.map(lambda text: f"loss.x={text}")),
)
def test_the_arguments_that_are_given_on_are_those_that_were_given(sets: list[str], **options: Any):
    arguments = ["train", "rows.jsonl", *as_arguments(options), *(f"--set={each}" for each in sets)]
    _, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)

    found = bound.arguments
    assert {name: found.get(name) or None for name in options} == {
        name: value or None for name, value in options.items()
    }
    assert list(found.get("settings", ())) == sets


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": 0}, "--processes must be at least 1, got 0"),
        ({"processes": 2, "max_restarts": -1}, "--max-restarts must be at least 0"),
        ({"max_restarts": 1}, "--max-restarts needs --processes"),
        ({"nodes": 2}, "--rendezvous HOST:PORT of machine 0"),
        ({"rendezvous": "a:1"}, "--nodes N"),
        ({"nodes": 2, "node_rank": 2, "rendezvous": "a:1"}, "of 2 machines the last is 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        starts_others(ProcessOptions(**options))


@pytest.mark.parametrize("place", ["node0", "node0:", ":29400", "node0:x", "node0:0", "node0:65536"])
def test_a_meeting_place_has_a_host_and_a_port(place: str, tmp_path: Path, capsys: Any):
    assert run(["resume", str(tmp_path), "--processes", "2", "--nodes", "2", "--rendezvous", place]) == 2
    assert "--rendezvous must be HOST:PORT" in capsys.readouterr().err


def test_beside_torchrun_it_is_refused_and_who_was_started_starts_nobody(monkeypatch: pytest.MonkeyPatch):
    two = ProcessOptions(processes=2)
    assert starts_others(two)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ConfigError, match="torchrun has started"):
        starts_others(two)
    monkeypatch.setenv(LAUNCHER, "1")
    assert not starts_others(two)


def test_a_run_goes_on_only_where_all_were_started_again_and_it_had_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "config.yaml").touch()
    assert not goes_on(tmp_path, NullProgress())
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert goes_on(tmp_path, NullProgress())
    assert not goes_on(None, NullProgress())
    assert not goes_on(tmp_path / "other", NullProgress())


def test_what_a_process_beside_the_first_prints_is_in_the_runs_folder(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
):
    for launched, local, index in (("", "1", 1), ("1", "0", 4), ("1", "1", 5)):
        monkeypatch.setenv("LOCAL_RANK", local)
        if launched:
            monkeypatch.setenv(LAUNCHER, launched)
        with own_output(tmp_path, index):
            os.write(1, f"out {index}\n".encode())
            os.write(2, f"err {index}\n".encode())
    os.write(2, b"last word\n")

    assert [path.name for path in (tmp_path / "processes").iterdir()] == ["5.txt"]
    assert (tmp_path / "processes" / "5.txt").read_text() == "out 5\nerr 5\n"
    assert capfd.readouterr() == ("out 1\nout 4\n", "err 1\nerr 4\nlast word\n")
