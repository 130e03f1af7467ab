"""What work tells of its progress: what is done, how much of it, and of how much."""

from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """
    Shows how far work is. The work itself prints nothing: it tells what it does, how much is done, and of how much.

    `haloes.Display` is one for people, `haloes.NullProgress` one that shows nothing; any object with these
    methods will do.
    """

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` units (None: unknown); the one before is over, but training waits meanwhile."""

    def advance(self, count: float) -> None:
        """Count further units of the stage as done, or parts of one where a unit takes long, as a step does."""

    def note(self, text: str) -> None:
        """Tell the user a sentence."""

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Begin the stage of training, whose units are steps, with `step` of `num_steps` already done."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Show a line that was added to the metrics: of a step, which is done now, or of a validation amid training."""


class NullProgress:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, count: float) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Do nothing."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Do nothing."""
