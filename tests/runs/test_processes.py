"""A run over two processes is the run on one, up to rounding, and only the first of them writes and speaks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import haloes
from haloes.runs.align import align
from haloes.runs.run_folder import read_config
from tiny_runs import flags, metrics, rows_of

UNLIKE = {"split", "reference_point/clamped"}
"""Not a number; and a number that rounding may turn over while z0 is 0 but for rounding."""


def test_two_processes_do_what_one_does(model: Path, thumbs_file: Path, tmp_path: Path):
    # No --out: the processes have to agree on a folder.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "haloes"]
    arguments = ["train", str(thumbs_file), *flags(model, train__epochs="2", train__validate_every="3")]
    environment = os.environ | {"PYTHONPATH": str(Path(haloes.__file__).parents[1])}
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["thumbs-kto-1"]
    two = tmp_path / "runs" / "thumbs-kto-1"
    for stage in (
        "reading feedback ...",
        "encoding feedback ...",
        "loading the model ...",
        "answers before training ...",
        "\ntraining ...",
        "measuring ...",
    ):
        assert done.stderr.count(stage) == 1
    start = r"^float32 on cpu, \d+ threads? in each of 2 processes; 6 steps of up to 8 examples: 2 passes over 24 "
    assert len(re.findall(start, done.stderr, re.MULTILINE)) == 1
    assert done.stdout.count("Report: runs/thumbs-kto-1/report.html") == 1
    assert not list(two.rglob("*partial*"))

    one = align(read_config(two), tmp_path / "one").run_dir
    assert metrics(two)[0]["loss"] == pytest.approx(0.5, abs=1e-6)
    for split in ("train", "validation"):
        assert len(metrics(two, split)) == len(metrics(one, split))
        for line, other in zip(metrics(two, split), metrics(one, split), strict=True):
            numbers, others = ({key: item[key] for key in item if key not in UNLIKE} for item in (line, other))
            assert numbers == pytest.approx(others, rel=1e-3, abs=1e-4)
    assert rows_of(two / "samples.jsonl")[:2] == rows_of(one / "samples.jsonl")[:2]
