"""How far training may move the answers, and whether it has: a run ends where its budget of divergence is spent."""

from collections.abc import Iterable, Mapping
from typing import Any

KL = "kl"
"""The metric of a step at which the divergence was looked at: nats an answer."""
_LOOKS = 20


def is_looked_at(step: int, num_steps: int) -> bool:
    """Return whether the divergence is looked at after this step, counted from 1: at most twenty times in a run."""
    return step % -(-num_steps // _LOOKS) == 0


def num_looks(num_steps: int) -> int:
    """Return how often a run of so many steps looks at its divergence, where it does."""
    return num_steps // -(-num_steps // _LOOKS) if num_steps else 0


class KLLimit:
    """Follows the looks of a run; a pure function of their lines, so that there is nothing to save."""

    def __init__(self, budget: float | None, lines: Iterable[Mapping[str, Any]]) -> None:
        """
        Follow what was looked at so far.

        Args:
            budget: `train.kl_budget`, nats an answer; None for no end.
            lines: the run's metrics so far.
        """
        self._budget = budget
        self.passed: tuple[int, float] | None = None
        """The step after which the budget was spent, with the divergence then, nats an answer; None while it is not."""
        for line in lines:
            if line["split"] == "train":
                self.update(line["step"], line)

    @property
    def should_stop(self) -> bool:
        """Return whether the budget is spent."""
        return self.passed is not None

    def update(self, step: int, numbers: Mapping[str, Any]) -> None:
        """Follow the metrics of a step; those of most steps have no divergence."""
        kl = numbers.get(KL)
        if self.passed is None and self._budget is not None and kl is not None and kl > self._budget:
            self.passed = step, float(kl)
