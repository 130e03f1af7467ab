"""Who looks on while a run works: a progress display, TensorBoard, or nobody."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol


class Progress(Protocol):
    """Shows what a run is doing. The run itself prints nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins, of so many units (None: unknown); the one before is over."""

    def advance(self, count: int) -> None:
        """So many units of the stage are done."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Training begins, with `step` of `num_steps` steps already done."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """A line was added to the metrics."""


class NullProgress:
    """Nobody looks on."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Nothing."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Nothing."""


class TensorBoard:
    """Writes every number of the metrics to `tensorboard/` in the run folder."""

    def __init__(self, run_dir: Path) -> None:
        """Open the event file."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(run_dir / "tensorboard"))

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Nothing."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Add the numbers at their step."""
        for name, value in numbers.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{numbers['split']}/{name}", value, numbers["step"])
        self._writer.flush()


def tensorboard_if_installed(run_dir: Path) -> list[TensorBoard]:
    """TensorBoard, where its package is there."""
    return [TensorBoard(run_dir)] if find_spec("tensorboard") is not None else []
