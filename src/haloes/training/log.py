"""The run's numbers, one JSON object a line, in step with the checkpoints."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.errors import RunError


class MetricsLog:
    """`metrics.jsonl`: a line a step and a line a validation, on disk before the next step starts."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        """Go on after `from_step` steps: lines of later ones, which will be done again, are dropped."""
        self._path = path
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= from_step]
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(kept))
        partial.replace(path)

    def write(self, numbers: Mapping[str, Any]) -> None:
        """Add a line. Raises RunError when the disk is full."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(numbers) + "\n")
        except OSError as error:
            advice = "free some space and resume" if error.errno == errno.ENOSPC else "put that right and resume"
            raise RunError(f"{self._path} cannot be written ({os.strerror(error.errno or 0)}); {advice}") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines, in order; a last line that a kill cut off is left out."""
    return [json.loads(line) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
