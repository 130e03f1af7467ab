"""The parts of a run that was stopped and resumed: its time is that of all of them, and each has its own threads."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from haloes.run_files import CHECKPOINTS, METRICS, SAMPLES

Parts: TypeAlias = list[dict[str, Any]]
"""For each part, oldest first: `started` (which tells parts apart), `threads`, and `seconds` once it has ended."""


class PartClock:
    """When this process began its part of a run, and how long it has lasted."""

    def __init__(self) -> None:
        """Begin now."""
        self.started = datetime.now(UTC).isoformat()
        """The time by which the part is known."""
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Return how long the part has lasted."""
        return time.perf_counter() - self._began


def begin_part(earlier: Sequence[Mapping[str, Any]], run_dir: Path, *, started: str, threads: int) -> Parts:
    """
    Return the parts with a new one that has begun.

    A part that was killed wrote no end: it lasted until its last step, checkpoint or answer was written.
    """
    parts = [dict(part) for part in earlier]
    for part in parts:
        part.setdefault("seconds", _seconds_until_last_sign(run_dir, str(part["started"])))
    return [*parts, {"started": started, "threads": threads}]


def end_part(parts: Sequence[Mapping[str, Any]], *, started: str, seconds: float) -> Parts:
    """Return the parts, the one that started then having lasted so long; one that never began changes nothing."""
    return [{**part, "seconds": seconds} if part["started"] == started else dict(part) for part in parts]


def total_seconds(parts: Iterable[Mapping[str, Any]]) -> float:
    """Return how long all parts took together."""
    return float(sum(part.get("seconds", 0.0) for part in parts))


def _seconds_until_last_sign(run_dir: Path, started: str) -> float:
    files = [run_dir / METRICS, run_dir / SAMPLES, *(run_dir / CHECKPOINTS).glob("*")]
    seen = max((path.stat().st_mtime for path in files if path.exists()), default=0.0)
    return max(0.0, seen - datetime.fromisoformat(started).timestamp())
