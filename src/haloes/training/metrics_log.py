"""The run's numbers, one JSON object a line, in step with the checkpoints."""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.errors import RunError


class MetricsLog:
    """`metrics.jsonl`: a line a step and a line a validation, on disk before the next step starts."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        """
        Go on after `from_step` steps: lines of later ones, which will be done again, are dropped.

        Raises RunError when the disk is full or cannot be written.
        """
        self._path = path
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= from_step]
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text("".join(kept))
            partial.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error

    def write(self, numbers: Mapping[str, Any]) -> None:
        """Add a line. Raises RunError when the disk is full."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(numbers) + "\n")
        except OSError as error:
            raise _unwritable(self._path, error) from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines, in order; a last line that a kill cut off is left out."""
    return [json.loads(line) for line in _lines(path)]


def _unwritable(path: Path, error: OSError) -> RunError:
    advice = "free some space and resume" if error.errno == errno.ENOSPC else "put that right and resume"
    return RunError(f"{path} cannot be written ({error.strerror or error}); {advice}")


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
