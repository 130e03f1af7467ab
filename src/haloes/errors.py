"""The errors that a user can act on; everything else is a bug and shows its traceback."""


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
