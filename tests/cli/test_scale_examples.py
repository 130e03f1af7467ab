"""The examples for clusters in docs/scale: they parse, and what they run are commands that haloes takes."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import haloes
from haloes.cli.main import app
from haloes.cli.processes import starts_others

DOCS = Path(__file__).parents[2] / "docs"
SCHEDULER = {
    "SLURM_JOB_NODELIST": "node[0-1]",
    "SLURM_JOB_ID": "7",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "1",
    "PET_NNODES": "2",
    "PET_NODE_RANK": "1",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29400",
    "FEEDBACK": "/shared/thumbs.jsonl",
    "MODEL": "/shared/model",
}
STAND_INS = {
    "haloes": 'printf "%s\\n" "$@"\nexit "${CODE:-0}"',
    "scontrol": 'if [ "$1" = show ]; then echo node0; echo node1; else echo "$@"; fi',
    "srun": 'shift\nexec "$@"',
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs of a cluster that print what they are asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def answered(command: list[str], programs: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**SCHEDULER, **more, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def check(arguments: list[str]) -> None:
    """Check that haloes takes the command, and that it is that of the second of two machines."""
    _, bound, ignored = app.parse_args(arguments, print_error=False, exit_on_error=False)
    how = bound.arguments["processes"]

    assert not ignored
    assert (how.processes, how.nodes, how.node_rank, how.rendezvous) == (8, 2, 1, "node0:29400")
    assert starts_others(how)


def pods() -> Iterator[list[str]]:
    job = yaml.safe_load((DOCS / "scale" / "pytorchjob.yaml").read_text())
    for replicas in job["spec"]["pytorchReplicaSpecs"].values():
        (container,) = replicas["template"]["spec"]["containers"]
        assert {each["name"] for each in container["env"]} == {"FEEDBACK", "MODEL", "RUN"}
        yield [*container["command"], *container["args"]]


@pytest.mark.parametrize("command", list(pods()), ids=["master", "worker"])
def test_a_pod_begins_a_run_and_goes_on_with_it(command: list[str], programs: Path, tmp_path: Path):
    begun = answered(command, programs, RUN=str(tmp_path)).stdout.splitlines()
    (tmp_path / "config.yaml").touch()
    gone_on = answered(command, programs, RUN=str(tmp_path)).stdout.splitlines()

    assert begun[:2] == ["train", "/shared/thumbs.jsonl"]
    assert gone_on[:2] == ["resume", str(tmp_path)]
    check(begun)
    check(gone_on)


def test_a_job_of_slurm_begins_a_run_and_is_queued_again_after_it_was_stopped(programs: Path):
    script = str(DOCS / "scale" / "slurm.sh")
    subprocess.run(["bash", "-n", script], check=True)
    done, stopped, failed = (answered(["bash", script], programs, CODE=code) for code in ("0", "130", "2"))

    assert [each.returncode for each in (done, stopped, failed)] == [0, 130, 2]
    assert done.stdout == failed.stdout
    assert stopped.stdout == done.stdout + "requeue 7\n"
    check(done.stdout.splitlines())


def test_the_commands_of_the_page_are_commands():
    found = re.findall(r"^haloes (.+)$", (DOCS / "scale.md").read_text(), re.MULTILINE)

    assert len(found) == 5
    for line in found:
        app.parse_args(line.split(), print_error=False, exit_on_error=False)


def test_two_commands_on_one_machine_are_as_two_machines(tmp_path: Path):
    program = "import os, sys; sys.exit(0 if os.environ['WORLD_SIZE'] == '4' else 3)"
    code = (
        "import sys\nfrom pathlib import Path\nfrom haloes.runs.launch import launch\n"
        "from haloes.runs.machines import Machines\n"
        "machines = Machines(count=2, index=int(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]))\n"
        f"sys.exit(launch([sys.executable, '-I', '-S', '-c', {program!r}], 2, machines, Path('run'), max_restarts=0))"
    )
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = str(asked.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(Path(haloes.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", code, index, port], env=environment, cwd=tmp_path)
        for index in ("1", "0")
    ]

    assert [each.wait(300) for each in started] == [0, 0]
