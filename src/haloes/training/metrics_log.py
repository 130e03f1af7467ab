"""The run's numbers, one JSON object a line, in step with the checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.journal import Journal


class MetricsLog:
    """`metrics.jsonl`: a line a step and a line a validation, on disk before the next step starts."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        """
        Resume after `from_step` steps: lines of later ones, which will be done again, are dropped.

        Raises RunError when the disk is full or cannot be written.
        """
        self._journal = _journal(path)
        self._journal.rewrite(line for line in self._journal.read() if line["step"] <= from_step)

    def write(self, numbers: Mapping[str, Any]) -> None:
        """Add a line. Raises RunError when the disk is full."""
        self._journal.add(numbers)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return all lines, in order; a last line that a kill cut off is left out."""
    return [dict(line) for line in _journal(path).read()]


def _journal(path: Path) -> Journal[Mapping[str, Any]]:
    return Journal(
        path,
        first_key="step",
        load=lambda line, _: line,
        dump=json.dumps,
        advice="put that right and resume",
        advice_when_full="free some space and resume",
    )
