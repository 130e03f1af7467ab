"""Flags of the command line that stand for settings of the configuration."""

from typing import Any


def flag_settings(
    *,
    source: str | None = None,
    model: str | None = None,
    loss: str | None = None,
    validation: str | None = None,
    columns: str | None = None,
) -> dict[str, Any]:
    """The flags that were given, as a nested mapping like a configuration file's."""
    from haloes.feedback.columns import parse_columns

    feedback: dict[str, Any] = {
        "source": source,
        "validation": validation,
        "columns": None if columns is None else parse_columns(columns),
    }
    sections: dict[str, dict[str, Any]] = {"feedback": feedback, "model": {"name": model}, "loss": {"name": loss}}
    given = {name: {key: v for key, v in keys.items() if v is not None} for name, keys in sections.items()}
    return {name: keys for name, keys in given.items() if keys}
