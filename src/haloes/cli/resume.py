"""`haloes resume`: go on with a run from its newest checkpoint."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.cli.finished import carry_out


def resume(
    run: Annotated[Path, Parameter(name=["RUN"])],
    /,
    *,
    allow_changes: bool = False,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Go on with a run that was stopped, from its newest intact checkpoint.

    Parameters
    ----------
    run
        The run's folder.
    allow_changes
        Go on even if the data, the tokenizer, the model or the settings are not what they were.
    settings
        Settings to change, as section.key=value; those that decide memory only (train.microbatch_tokens) may differ.
    """
    from haloes.runs.config import parse_settings
    from haloes.runs.run_folder import read_config

    carry_out(read_config(run, parse_settings(settings)), run, resume=True, allow_changes=allow_changes)
