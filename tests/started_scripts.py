"""Scripts of tests that fork processes of their own, run as programs: pytest has threads, and cannot fork."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType


def carry_out(script: ModuleType, folder: Path, *options: str, seconds: float) -> Path:
    """Run a script on a folder with one thread and a cache in there, and return the folder; what it says is told."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
        "HALOES_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, *options, str(script.__file__), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder
