"""What all processes of a run need before it begins: one folder, the same programs, and the same data and model."""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from haloes.errors import RunError
from haloes.progress.contract import Progress
from haloes.runs.launched import own_output
from haloes.runs.run_folder import installed
from haloes.training.distributed import Ranks

_APPEARS = 30.0
"""Seconds that a file of another machine may take to appear: NFS looks again after a while."""
_PROGRAMS = ("haloes", "transformers", "peft")


@contextmanager
def in_one_folder(run_dir: Path, ranks: Ranks, progress: Progress) -> Iterator[None]:
    """
    See that all processes share the run's folder, which the main one has made, and work in it inside the block.

    What those beside the first print goes into a file there, where `haloes train --processes` started them.

    Raises RunError on all of them where one does not see it, or has other versions than the main one.
    """
    if ranks.count > 1:
        _check_folder(run_dir, ranks, progress)
    with own_output(run_dir, ranks.index):
        yield


def check_same(ranks: Ranks, identity: Mapping[str, str]) -> None:
    """Raise RunError on all processes where one has another value than the main one, such as other feedback."""
    mine = json.dumps({"host": socket.gethostname(), "has": dict(identity)}).encode()
    first, *others = [json.loads(said) for said in ranks.gather(mine)]
    for index, other in enumerate(others, start=1):
        for name in sorted(first["has"].keys() | other["has"].keys()):
            if first["has"].get(name) != other["has"].get(name):
                raise RunError(
                    f"process {index} on {other['host']} and process 0 on {first['host']} do not have the same {name}: "
                    "give the same files on all machines, best on a file system that they share"
                )


def _check_folder(run_dir: Path, ranks: Ranks, progress: Progress) -> None:
    """Write a file in the main process, and see that all find it."""
    # Named as temporary files are: one that a kill leaves is removed when the run is resumed.
    name = ranks.from_main(lambda: f".meeting.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    file = run_dir / name
    if ranks.is_main:
        file.touch()
    ranks.barrier()
    mine = {"host": socket.gethostname(), "sees": _appears(file), "torch": torch.__version__}
    mine |= {program: installed(program) for program in _PROGRAMS}
    said = [json.loads(each) for each in ranks.gather(json.dumps(mine).encode())]
    if ranks.is_main:
        file.unlink()
    first = said[0]
    for index, other in enumerate(said):
        if not other["sees"]:
            raise RunError(
                f"process {index} on {other['host']} does not see what process 0 on {first['host']} writes in "
                f"{run_dir}: give a folder on a file system that all machines share (--out)"
            )
        for program in ("torch", *_PROGRAMS):
            if other[program] != first[program]:
                raise RunError(
                    f"process {index} on {other['host']} has {program} {other[program]}, and process 0 on "
                    f"{first['host']} {first[program]}: install the same on all machines"
                )
    hosts = dict.fromkeys(other["host"] for other in said)
    if len(hosts) > 1:
        versions = f"haloes {first['haloes']} and torch {first['torch']}"
        progress.note(f"{len(hosts)} machines share {run_dir} ({', '.join(hosts)}), each with {versions}")


def _appears(file: Path) -> bool:
    """Return whether a file is there, or comes within a while."""
    until = time.monotonic() + _APPEARS
    while not file.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
