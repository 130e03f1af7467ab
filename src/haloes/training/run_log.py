"""The metrics of a run as it goes: to the file and to whoever follows it, from the main process alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import torch

from haloes.run_files import METRICS
from haloes.training import checkpoint
from haloes.training.job import Callback, TrainJob
from haloes.training.metrics import step_metrics
from haloes.training.metrics_log import MetricsLog, read_metrics
from haloes.training.step_table import Table

GIB = 2**30


class RunLog:
    """Metrics to the file and the callbacks, from the main process only."""

    def __init__(self, job: TrainJob, callbacks: Sequence[Callback], saved: checkpoint.Checkpoint | None) -> None:
        self._job, self._callbacks = job, callbacks
        self._file: MetricsLog | None = None
        if job.ranks.is_main:
            done, kept = (0, None) if saved is None else (saved.step, saved.metrics)
            self._file = MetricsLog(job.run_dir / METRICS, from_step=done, saved=kept)

    @property
    def text(self) -> bytes:
        """Return the whole log, in the main process."""
        return b"" if self._file is None else self._file.text

    def mended(self) -> list[str]:
        """Return a sentence where lines were lost or changed, and are there again."""
        if self._file is None or not self._file.is_mended:
            return []
        return [f"{self._job.run_dir / METRICS} was damaged; it was restored from the newest checkpoint"]

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that were written so far, on all processes."""
        return self._job.ranks.broadcast(read_metrics(self._job.run_dir / METRICS) if self._job.ranks.is_main else [])

    def step(
        self, table: Table, looked_at: Mapping[str, Any], *, rate: float, norm: float, seconds: float, per_epoch: int
    ) -> None:
        """Add the line of a step, with what was looked at after it."""
        store = self._job.train
        tokens = sum(store.length(int(i)) for i in table.sequences)
        self._write(
            {
                "step": table.step.index + 1,
                "split": "train",
                **step_metrics(table, store, rounding=self._job.rounding),
                **looked_at,
                "learning_rate": rate,
                "grad_norm": norm,
                "epoch": (table.step.index + 1) / per_epoch,
                "tokens_per_second": tokens / seconds,
                "memory_gib": _memory_gib(self._job.policy.device),
            }
        )

    def validation(self, step: int, numbers: Mapping[str, Any]) -> None:
        """Add the line of a validation after so many steps."""
        self._write({"step": step, "split": "validation", **numbers})

    def _write(self, numbers: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(numbers)
            for callback in self._callbacks:
                callback.on_metrics(numbers)


def _memory_gib(device: torch.device) -> float:
    """Return the peak memory on a GPU; on a CPU this process's resident memory now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return float(psutil.Process().memory_info().rss) / GIB
