"""Callbacks of a run beside its progress: TensorBoard, or nothing."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class TensorBoard:
    """Writes every number of the metrics to `tensorboard/` in the run folder."""

    def __init__(self, run_dir: Path) -> None:
        """Open the event file."""
        # An extra package, imported only where it is used.
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(run_dir / "tensorboard"))

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Do nothing."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Add the numbers at their step."""
        for name, value in numbers.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{numbers['split']}/{name}", value, numbers["step"])
        # At once, so that a look at a running run shows its newest step.
        self._writer.flush()


def tensorboard_if_installed(run_dir: Path) -> list[TensorBoard]:
    """Return a TensorBoard writer where its package is installed."""
    return [TensorBoard(run_dir)] if find_spec("tensorboard") is not None else []
