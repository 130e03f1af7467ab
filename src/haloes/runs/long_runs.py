"""What a run of hours takes, said after a few of its steps, and what to set for a shorter one."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from haloes.progress.time_left import about

_MEASURED = 2
"""Steps that are timed, after the first, which also sets things up."""
_LONG = 3600.0
_SHORTER = 1800.0


def shorter(seconds: float, *, epochs: float) -> str | None:
    """
    Return what to set so that a run takes about half an hour; None where it takes no more than an hour as it is.

    Args:
        seconds: what all of its steps take.
        epochs: `train.epochs` of the run.
    """
    return None if seconds <= _LONG else f"for a run of half an hour set train.epochs={epochs * _SHORTER / seconds:.2g}"


@dataclass(slots=True)
class LongRunNote:
    """A callback that tells once, early in a run, that it will take more than an hour, and what makes it shorter."""

    epochs: float
    """`train.epochs` of the run."""
    note: Callable[[str], None]
    now: Callable[[], float] = time.monotonic
    _step: int = 0
    _num_steps: int = 0
    _began: float = field(default=0.0)
    _done: int = 0

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Take note of how many steps there are, with `step` of them already done."""
        self._step, self._num_steps, self._done = step, num_steps, 0

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Time the second and the third step of this start; validations are none."""
        if numbers["split"] != "train" or self._done > _MEASURED:
            return
        self._done += 1
        if self._done == 1:
            self._began = self.now()
        if self._done == 1 + _MEASURED:
            self._tell((self.now() - self._began) / _MEASURED)

    def _tell(self, seconds: float) -> None:
        left = self._num_steps - self._step - self._done
        advice = shorter(seconds * self._num_steps, epochs=self.epochs)
        if left * seconds <= _LONG or advice is None:
            return
        self.note(
            f"a step takes {about(seconds)}, so the {left:,} left take about {about(left * seconds)}: {advice}; "
            "stopped with Ctrl-C it goes on with `haloes resume`"
        )
