"""A step, a validation and a run over two processes (gloo, started by torchrun) are those of one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import two_ranks
from haloes.training.distributed import Ranks
from haloes.training.metrics_log import read_metrics

TIMES = ("tokens_per_second", "memory_gib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have done everything."""
    made = tmp_path_factory.mktemp("two ranks")
    two_ranks.make_stores(made)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, two_ranks.__file__, str(made)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr, done.stderr[-4000:]
    return made


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, dict[str, Any]]:
    """What the cases come to in this one process."""
    return dict(two_ranks.steps(folder, Ranks(0, 1)))


def test_there_were_two(folder: Path):
    assert [(folder / f"count {rank}").read_text() for rank in (0, 1)] == ["2", "2"]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", list(two_ranks.CASES))
def test_a_step_and_a_validation_are_those_of_one_process(
    name: str, rank: int, folder: Path, alone: dict[str, dict[str, Any]]
):
    found = dict(np.load(folder / f"{name} {rank}.npz"))

    assert found.keys() == alone[name].keys()
    for key, value in alone[name].items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    assert any(np.abs(value).max() > 0.01 for key, value in found.items() if key.startswith("gradient"))


def test_the_processes_hold_the_same_numbers_to_the_bit(folder: Path):
    for name in two_ranks.CASES:
        one, other = (np.load(folder / f"{name} {rank}.npz") for rank in (0, 1))

        assert all(np.array_equal(one[key], other[key]) for key in one.files), name


def test_a_run_of_two_processes_is_that_of_one(folder: Path):
    two_ranks.whole_run(folder, folder / "run of one", Ranks(0, 1))
    runs = [folder / "run of one", folder / "run of two"]
    one, two = (read_metrics(run / "metrics.jsonl") for run in runs)

    assert len(one) == len(two) == 6 + 2
    for a, b in zip(one, two, strict=True):
        assert a.pop("split") == b.pop("split")
        assert a.keys() == b.keys()
        numbers = {key: value for key, value in a.items() if key not in TIMES}
        assert {key: b[key] for key in numbers} == pytest.approx(numbers, rel=1e-3, abs=1e-4)
    saved = [load_file(run / "checkpoints" / "step-00000006" / "weights.safetensors") for run in runs]
    assert all(np.allclose(saved[0][name], saved[1][name], rtol=0, atol=1e-4) for name in saved[0])


def test_a_stop_that_one_process_is_asked_for_stops_both(folder: Path):
    assert (folder / "stopped run" / "stopped").read_text() == "1"
    assert [path.name for path in (folder / "stopped run" / "checkpoints").iterdir()] == ["step-00000001"]
    assert [line["step"] for line in read_metrics(folder / "stopped run" / "metrics.jsonl")] == [1]
