"""The run's numbers, one JSON object a line, in step with the checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.errors import DataError
from haloes.journal import Journal
from haloes.store import json_rows


class MetricsLog:
    """`metrics.jsonl`: a line a step and a line a validation, on disk before the next step starts."""

    def __init__(self, path: Path, *, from_step: int, saved: bytes | None = None) -> None:
        """
        Resume after `from_step` steps: lines of later ones, which will be done again, are dropped.

        Args:
            path: the file.
            from_step: how many steps are done.
            saved: the log as the checkpoint of that step has it, which is verified. Only where there is none, as in
                that of an older haloes, the file is believed.

        Raises RunError when the disk is full or cannot be written.
        """
        self._journal = _journal(path)
        self.is_mended = False
        """Whether the file had lost or changed lines, which are there again."""
        rows: list[Mapping[str, Any]] = []
        if saved is not None:
            rows = [line for _, line in json_rows(enumerate(saved.splitlines(), start=1), path)]
            self.is_mended = not (path.exists() and path.read_bytes().startswith(saved))
        elif from_step:
            rows = [line for line in self._journal.read() if line["step"] <= from_step]
        self._journal.rewrite(rows)
        self._text = bytearray(path.read_bytes())

    @property
    def text(self) -> bytes:
        """Return the whole log, for a checkpoint."""
        # Kept here, about a kilobyte a step: what becomes of the file meanwhile must not get into a checkpoint.
        return bytes(self._text)

    def write(self, numbers: Mapping[str, Any]) -> None:
        """Add a line. Raises RunError when the disk is full."""
        self._journal.add(numbers)
        self._text += _line(numbers)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return all lines, in order; a last line that a kill cut off is left out."""
    return [dict(line) for line in _journal(path).read()]


def _journal(path: Path) -> Journal[Mapping[str, Any]]:
    return Journal(
        path,
        first_key="step",
        load=_checked,
        dump=json.dumps,
        advice="put that right and resume",
        advice_when_full="free some space and resume",
    )


def _checked(line: dict[str, Any], where: str) -> Mapping[str, Any]:
    if not isinstance(line.get("step"), int) or not isinstance(line.get("split"), str):
        raise DataError(
            f"{where}: this is no line of metrics (no step or split); `haloes resume` restores the file from the "
            "newest checkpoint"
        )
    return line


def _line(numbers: Mapping[str, Any]) -> bytes:
    return json.dumps(numbers).encode() + b"\n"
