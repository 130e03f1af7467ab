"""Runs of several processes that are stopped, cut short, killed or fail: they end together, and go on as if not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import ranks_script
from haloes.training.metrics_log import read_metrics

TIMES = ("tokens_per_second", "memory_gib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script has done everything."""
    made = tmp_path_factory.mktemp("ranks")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-W", "ignore", ranks_script.__file__, str(made)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return made


def numbers(run_dir: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if key not in TIMES}
        for line in read_metrics(run_dir / "metrics.jsonl")
    ]


def weights(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(run_dir / "checkpoints" / "step-00000008" / "weights.safetensors")
    return found


def steps_saved(run_dir: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run_dir / "checkpoints").iterdir())


def lines_of(folder: Path, name: str) -> list[str]:
    return [line for line in (folder / f"{name}.txt").read_text().splitlines() if line.startswith("haloes: ")]


def codes_of(folder: Path, name: str) -> list[int]:
    codes: list[int] = json.loads((folder / "found.json").read_text())[name]["codes"]
    return codes


@pytest.mark.parametrize("run", ["stopped", "cut"])
def test_a_run_that_goes_on_is_one_that_was_never_stopped_to_the_bit(run: str, folder: Path):
    assert numbers(folder / run) == numbers(folder / "whole")
    one, other = weights(folder / run), weights(folder / "whole")
    assert all(np.array_equal(one[name], other[name]) for name in other)


def test_the_numbers_of_these_runs_would_show_another_layout(folder: Path):
    assert numbers(folder / "whole") != numbers(folder / "whole exact")


def test_a_step_that_one_process_gives_up_is_given_up_by_all_and_what_was_before_is_saved(folder: Path):
    step = int((folder / "cut" / "stopped").read_text())

    assert 0 < step < 7
    assert step in steps_saved(folder / "cut")


@pytest.mark.parametrize("run", ["on one", "on four"])
def test_a_run_of_two_processes_goes_on_with_another_number_of_them(run: str, folder: Path):
    for ours, line in zip(numbers(folder / run), numbers(folder / "whole exact"), strict=True):
        assert ours.pop("split") == line.pop("split")
        assert ours == pytest.approx(line, rel=0, abs=1e-4)
    one, other = weights(folder / run), weights(folder / "whole exact")
    assert all(np.allclose(one[name], other[name], rtol=0, atol=1e-4) for name in other)


@pytest.mark.parametrize(
    ("name", "of", "text"), [("a", "error of the main process", "faulty.jsonl"), ("b", "error of both", "no-such")]
)
def test_a_mistake_is_one_line_and_exit_code_2_of_all(name: str, of: str, text: str, folder: Path):
    said = (folder / f"{name}.txt").read_text()

    assert codes_of(folder, of) == [2, 2]
    assert len(lines_of(folder, name)) == 1, said
    assert text in said
    assert "Traceback" not in said


def test_a_stop_of_one_process_stops_all_after_one_step_which_is_saved(folder: Path):
    run_dir = folder / "terminated"
    (line,) = lines_of(folder, "terminated")

    assert codes_of(folder, "terminated") == [130, 130]
    assert f"haloes resume {run_dir}" in line
    assert steps_saved(run_dir) == [read_metrics(run_dir / "metrics.jsonl")[-1]["step"]]


def test_a_process_that_is_killed_ends_the_others_with_one_line_and_what_was_done_is_saved(folder: Path):
    run_dir = folder / "killed"
    (line,) = lines_of(folder, "killed")

    assert codes_of(folder, "killed") == [2, -9]
    assert "was killed" in line
    assert f"haloes resume {run_dir}" in line
    assert "Traceback" not in (folder / "killed.txt").read_text()
    assert steps_saved(run_dir) == [read_metrics(run_dir / "metrics.jsonl")[-1]["step"]]
