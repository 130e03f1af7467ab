"""
The errors that a user can act on; everything else is a bug and shows its traceback.

    UserError               exit code 2; the message says what is wrong, the value, where, and what to do
    ├── DataError           feedback, a record, a dataset
    ├── ConfigError         a setting
    ├── ModelError          a model, adapter or tokenizer
    ├── RunError            a run or its folder
    │   └── ProcessEnded    another of the run's processes is gone, and with it the run
    └── MissingInputError   what a loss declares that it needs and its batch lacks
    Interrupted             no error: the user stopped a run, which can be resumed

What is wrong with a single row of feedback is no error of the program: see `haloes.feedback.refusals`.
"""

from pathlib import Path

from haloes.readable import readable

USAGE, INTERRUPTED, BUG = 2, 130, 1
"""Exit codes: of what the user can put right, after a signal to stop, and of everything else."""


class UserError(Exception):
    """Something that the user can put right; the base of all errors whose message is shown without a traceback."""

    def __str__(self) -> str:
        """Return the message, in which names and texts from outside have no control over the terminal."""
        return readable(super().__str__())


class DataError(UserError):
    """A feedback file, a record or a dataset cannot be used as it is."""


class ConfigError(UserError):
    """A setting is unknown, out of range, or cannot take effect together with another."""


class ModelError(UserError):
    """A model, adapter or tokenizer cannot be loaded or used for what was asked."""


class RunError(UserError):
    """A run cannot start, continue or be resumed; what was saved before stays."""


class ProcessEnded(RunError):  # noqa: N818 - it is what happened; the error was another process's
    """Another process of the run has ended, was killed or hangs; what was saved before stays."""

    def __init__(self, message: str, *, again: str | None = None) -> None:
        """`again`: which start comes next, as "1 of 3", where who started the processes starts all of them again."""
        super().__init__(message)
        self.again = again


class MissingInputError(UserError):
    """A loss needs something (reference, pairs, mismatched completions) that its batch does not hold."""


def exit_code(error: BaseException) -> int:
    """Return the exit code of a program that ends with this error."""
    if isinstance(error, UserError):
        return USAGE
    return INTERRUPTED if isinstance(error, Interrupted | KeyboardInterrupt) else BUG


class Interrupted(Exception):  # noqa: N818 - it is what happened, not an error
    """A run was stopped by its user after a whole step, and everything was saved."""

    def __init__(self, step: int, num_steps: int, run_dir: Path | None = None) -> None:
        """`step` steps of `num_steps` are done; `run_dir` holds what was saved."""
        super().__init__(f"stopped after step {step} of {num_steps}")
        self.step, self.num_steps, self.run_dir = step, num_steps, run_dir
