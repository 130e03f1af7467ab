"""Runs whose checkpoints are written behind their steps are killed, fail and are stopped: nothing complete is lost."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import behind_script
from behind_script import HELD, SAVED, STEPS
from haloes.cli.main import main
from haloes.runs.align import align
from haloes.runs.run_folder import read_config
from haloes.training import shard_files
from haloes.training.metrics_log import read_metrics
from started_scripts import carry_out
from tiny_runs import flags

TIMES = ("tokens_per_second", "memory_gib")
kinds = pytest.mark.parametrize("kind", list(behind_script.KINDS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script has done everything."""
    return carry_out(behind_script, tmp_path_factory.mktemp("behind"), "-W", "ignore", seconds=900)


def found(folder: Path, kind: str, ending: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((folder / "found.json").read_text())[f"{kind} {ending}"]
    return known


def name(step: int) -> str:
    return f"step-{step:08d}"


def numbers(run_dir: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if key not in TIMES}
        for line in read_metrics(run_dir / "metrics.jsonl")
    ]


def weights(run_dir: Path) -> dict[str, Any]:
    files = sorted((run_dir / "checkpoints" / name(STEPS)).glob("weights*.safetensors"))
    return {f"{file.name} {key}": value for file in files for key, value in load_file(file).items()}


@kinds
def test_steps_go_on_while_a_checkpoint_is_written_which_has_no_name_until_it_is_whole(kind: str, folder: Path):
    known = found(folder, kind, "killed")

    assert known["steps"] == STEPS
    assert known["there"] == [f".partial-{HELD:08d}", name(SAVED)]


@kinds
def test_a_kill_meanwhile_leaves_the_one_before(kind: str, folder: Path):
    known = found(folder, kind, "killed")

    assert -9 in known["codes"]
    assert set(known["codes"]) <= {-9, 2}
    assert [each for each in known["left"] if not each.startswith(".")] == [name(SAVED)]
    assert "Traceback" not in (folder / f"{kind} killed.txt").read_text()


@kinds
def test_a_disk_that_is_full_behind_the_steps_ends_the_run_as_it_would_before_them(kind: str, folder: Path):
    known = found(folder, kind, "full")

    assert set(known["codes"]) == {2}
    assert f"the checkpoint of step {HELD} cannot be written" in known["said"]
    assert "No space left on device; free some space" in known["said"]
    assert "Traceback" not in known["said"]
    assert known["left"] == [name(SAVED)]


@kinds
def test_a_run_that_is_stopped_meanwhile_has_both_checkpoints(kind: str, folder: Path):
    known = found(folder, kind, "stopped")

    assert not any(known["codes"])
    assert set(known["steps"]) == {HELD + 1}
    assert known["left"] == [name(HELD), name(HELD + 1)]


@kinds
@pytest.mark.parametrize("ending", ["killed", "full", "stopped"])
def test_it_goes_on_to_the_same_bits(ending: str, kind: str, folder: Path):
    run, whole = folder / f"{kind} {ending}", folder / f"{kind} whole"

    assert not any(found(folder, kind, ending)["resumed"])
    assert numbers(run) == numbers(whole)
    one, other = weights(run), weights(whole)
    assert list(one) == list(other)
    assert all(np.array_equal(one[key], other[key]) for key in other)


def test_the_command_says_in_one_line_that_the_disk_is_full_and_ends_with_2(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write = shard_files.save_file

    def full(tensors: Any, path: Path, **more: Any) -> None:
        if path.parent.name.endswith("2"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(tensors, path, **more)

    monkeypatch.setattr(shard_files, "save_file", full)
    out = tmp_path / "run"
    arguments = ["train", str(thumbs_file), "--out", str(out), *flags(model, train__save_while_training="true")]

    with pytest.raises(SystemExit) as end:
        main(arguments)

    assert end.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("haloes: ")]
    assert "the checkpoint of step 2 cannot be written" in line
    assert [path.name for path in (out / "checkpoints").iterdir()] == [name(1)]
    monkeypatch.undo()
    assert align(read_config(out), out, resume=True).num_steps == 3
