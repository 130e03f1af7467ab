"""The best step so far by one number of the validation, and whether to stop waiting for a better one."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from haloes.errors import ConfigError

LOWER_IS_BETTER = frozenset({"loss", "sampled/kl", "sampled/repetition"})
"""The numbers of a validation that are better when smaller; all others are better when larger."""


class EarlyStopping:
    """Follows the validations of a run; a pure function of their lines, so that there is nothing to save."""

    def __init__(self, name: str | None, patience: int | None, lines: Iterable[Mapping[str, Any]]) -> None:
        """
        Follow what was validated so far.

        Args:
            name: the number; None follows nothing.
            patience: stop after this many validations without a better one; None never.
            lines: the run's metrics so far.
        """
        self._name, self._patience = name, patience
        self._value, self._since = -inf, 0
        self.step: int | None = None
        """The step after which the number was best; None before the first validation."""
        for line in lines:
            if line["split"] == "validation":
                self.update(line["step"], line)

    @property
    def should_stop(self) -> bool:
        """Return whether a better validation has not come for too long."""
        return self._patience is not None and self.step is not None and self._since >= self._patience

    def update(self, step: int, numbers: Mapping[str, Any]) -> bool:
        """
        Follow a validation after `step` steps; return whether it is the best so far (the first of equal ones is).

        One where the number is None, because it could not be measured, is neither better nor worse.

        Raises ConfigError when the validation has no such number.
        """
        if self._name is None:
            return False
        if self._name not in numbers:
            has = ", ".join(sorted(name for name in numbers if name not in {"step", "split"}))
            raise ConfigError(f"train.keep_best: the validation has no number {self._name!r}. It has: {has}")
        if numbers[self._name] is None:
            return False
        value = float(numbers[self._name]) * (-1 if self._name in LOWER_IS_BETTER else 1)
        if value > self._value:
            self._value, self._since, self.step = value, 0, step
            return True
        self._since += 1
        return False
