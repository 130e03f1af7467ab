"""`haloes train`: from a feedback file to an aligned model, measured."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.cli.finished import carry_out
from haloes.cli.flags import flag_settings
from haloes.cli.folders import new_run_dir


def train(
    source: Annotated[str | None, Parameter(name=["FEEDBACK"])] = None,
    /,
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    model: str | None = None,
    loss: str | None = None,
    validation: str | None = None,
    columns: str | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Align a model with feedback, and measure it on held-out prompts.

    The run's folder then holds the model, report.html and every number. Ctrl-C ends the run after the step that it is
    in, and `haloes resume RUN` goes on with it.

    Parameters
    ----------
    source
        A feedback file (JSONL, JSON, CSV, Parquet; gzip or not), a saved data set, or a set's name on the hub;
        may be left out where the settings name it (feedback.source).
    config
        A YAML file with settings (see `haloes schema`). Everything has a default; --set and other flags override it.
    model
        The model to align: a folder, a name on the hub, a .gguf file, or "embedded" (the default,
        SmolLM2-135M-Instruct).
    loss
        kto (the default, for thumbs), dpo (for pairs) or another of `haloes losses`, or path/to/file.py:Class.
    validation
        A file of held-out feedback; if left out, a tenth of the feedback is held out, by prompt.
    columns
        Which column is what, where names differ: completion=answer,label=thumb.
    out
        The run's folder; runs/<file>-<loss>-<number> if left out.
    settings
        Any setting as section.key=value, such as train.lr=1e-4 (the one that matters most); may be given several times.
    """
    from haloes.runs.config import config_of_file, parse_settings

    flags = flag_settings(source=source, model=model, loss=loss, validation=validation, columns=columns)
    chosen = config_of_file(config, flags, parse_settings(settings))
    carry_out(chosen, out or new_run_dir(chosen), resume=False)
