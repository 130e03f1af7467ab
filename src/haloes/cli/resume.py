"""`haloes resume`: go on with a run from its newest checkpoint."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from haloes.cli.flags import ONE_PROCESS, ProcessOptions, Settings


def resume(
    run: Annotated[Path, Parameter(name=["RUN"])],
    /,
    *,
    allow_changes: bool = False,
    trust_run_code: bool = False,
    processes: ProcessOptions = ONE_PROCESS,
    settings: Settings = (),
) -> int | None:
    """Go on with a run that was stopped, from its newest intact checkpoint.

    Python that its config.yaml names (a loss, a rater, a rule) is run where you trained with the very same before.

    Parameters
    ----------
    run
        The run's folder.
    allow_changes
        Go on even if the data, the tokenizer, the model, the settings or your own code are not what they were.
    trust_run_code
        Run the code that the run's config.yaml names, and ask the server that it names, though you have not trained
        with them before: somebody else may have written that file, so read it first.
    settings
        Settings to change, as section.key=value; those that decide memory only (train.microbatch_tokens) may differ.
    """
    import haloes.api.runs
    from haloes.cli.processes import start, starts_others
    from haloes.cli.views.run import show_run
    from haloes.progress.display import Display
    from haloes.runs.read_settings import parse_settings

    options: dict[str, Any] = {"allow_changes": allow_changes, "trust_run_code": trust_run_code}
    if starts_others(processes):
        return start(["resume", str(run)], processes, run, options=options, settings=settings)
    with Display() as progress:
        finished = haloes.api.runs.resume(run, **options, settings=parse_settings(settings), progress=progress)
    show_run(finished)
    return None
