"""Refusals of names that lead nowhere, made before torch is imported, which takes seconds."""

from pathlib import Path

from haloes.feedback.containers import check_exists
from haloes.judging.functions import load_function
from haloes.losses.table import check_loss_name
from haloes.models.locate import check_model_is_found
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.runs.go_on import check_init


def check_names(config: RunConfig) -> None:
    """
    Refuse a run whose loss, model, rater or feedback is named, but not there.

    Raises:
        ConfigError: there is no such loss or rater.
        ModelError: there is no such folder or file, and no such model on the hub.
        DataError: there is no such feedback.
        RunError: there is no such run to go on from, or it cannot be gone on from.
    """
    if isinstance(name := config.loss.get("name"), str):
        check_loss_name(name)
    if config.samples.rater is not None:
        check_function_exists(config.samples.rater, setting="samples.rater")
    check_feedback_exists(config.feedback)
    check_init(config.model)
    # Last, as the hub may be asked.
    for model in (config.model.name, config.model.reference):
        if model is not None:
            check_model_is_found(model)


def check_feedback_exists(settings: FeedbackSettings) -> None:
    """Raise DataError where the feedback or its held-out part is a file or folder that is missing."""
    for path in (settings.source, settings.validation):
        if path:
            check_exists(path)


def check_function_exists(name: str, *, setting: str) -> None:
    """Raise ConfigError, naming the setting, where a function is to come from a file that is missing."""
    file = name.rpartition(":")[0]
    if file.endswith(".py") and not Path(file).is_file():
        load_function(name, setting=setting)
