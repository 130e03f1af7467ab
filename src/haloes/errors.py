"""The errors that a user can act on; everything else is a bug and shows its traceback."""

from pathlib import Path


class UserError(Exception):
    """Something the user can put right: the message says what, the value, where, and what to do. Exit code 2."""


class DataError(UserError):
    """A feedback file, a record or a dataset cannot be used as it is."""


class ConfigError(UserError):
    """A setting is unknown, out of range, or cannot take effect together with another."""


class ModelError(UserError):
    """A model, adapter or tokenizer cannot be loaded or used for what was asked."""


class RunError(UserError):
    """A run cannot start, go on or be resumed; what was saved before stays."""


class MissingInputError(UserError):
    """A loss needs something (reference, pairs, mismatched completions) that its batch does not hold."""


class Interrupted(Exception):  # noqa: N818 - it is what happened, not an error
    """A run was stopped by its user after a whole step, and everything was saved."""

    def __init__(self, step: int, num_steps: int, run_dir: Path | None = None) -> None:
        """`step` steps of `num_steps` are done; `run_dir` holds what was saved."""
        super().__init__(f"stopped after step {step} of {num_steps}")
        self.step, self.num_steps, self.run_dir = step, num_steps, run_dir
