"""How much of a step is done while it is under way: on a slow machine one takes minutes."""

from collections.abc import Callable

from haloes.progress.contract import NullProgress, Progress

_TRAINED = 3
"""Passes without gradient that a sequence's forward and backward pass takes as long as."""


def ignore_count(count: int) -> None:
    """Do nothing: where nobody waits for the sequences that are scored."""


class StepWork:
    """Tells a progress of the parts of a step, which add up to one step."""

    def __init__(self, progress: Progress | None = None) -> None:
        """Take the progress to tell; nobody is told if it is left out."""
        self.progress: Progress = progress or NullProgress()
        self._units, self._of_policy = 0, 1

    def begin(self, *, sequences: int, mismatched: int, reference: bool, backward: bool) -> None:
        """
        Begin a step.

        Args:
            sequences: sequences (x, y) that go through the policy.
            mismatched: sequences (x, y') that do.
            reference: whether all of them also go through the reference.
            backward: whether the first have a backward pass.
        """
        self._of_policy = _TRAINED if backward else 1
        self._units = sequences * self._of_policy + mismatched + (sequences + mismatched if reference else 0)

    def scored(self, count: int) -> None:
        """Count sequences that went through the reference, or as (x, y') through the policy."""
        self._tell(count)

    def done(self, count: int) -> None:
        """Count sequences (x, y) whose micro-batch is done."""
        self._tell(count * self._of_policy)

    def _tell(self, units: int) -> None:
        if self._units:
            self.progress.advance(units / self._units)


OnScored = Callable[[int], None]
"""Told how many further sequences are scored."""
