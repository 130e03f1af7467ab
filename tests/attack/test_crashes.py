"""Runs that are killed or damaged, two judges at one file, spoilt feedback: nothing is lost or silently different."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def attack(kind: str, count: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    script = ["fuzz_feedback.py"] if kind == "fuzz" else ["crash_runs.py", kind]
    command = [sys.executable, "-W", "ignore", FOLDER / script[0], *script[1:], str(count)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "count"),
    [("kills", 2), ("ranks", 1), ("damages", 4), ("judges", 2), ("rounds", 1), ("benchmarks", 2), ("fuzz", 4000)],
)
def test_a_few_attacks_do_no_harm(kind: str, count: int):
    done = attack(kind, count)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.attack
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("kills", 300),
        ("ranks", 100),
        ("launched", 50),
        ("damages", 500),
        ("judges", 30),
        ("rounds", 50),
        ("benchmarks", 50),
        ("fuzz", 1_000_000),
    ],
)
def test_many_attacks_do_no_harm(kind: str, count: int):
    done = attack(kind, count)

    assert done.returncode == 0, done.stdout + done.stderr
