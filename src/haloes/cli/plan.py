"""`haloes plan`: what a run will take, before it is started."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def plan(
    source: Annotated[str | None, Parameter(name=["FEEDBACK"])] = None,
    /,
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    model: str | None = None,
    loss: str | None = None,
    validation: str | None = None,
    columns: str | None = None,
    memory: float | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Say what a run will take in memory, time and disk, from a few of its own steps, and whether it fits.

    Nothing stays on disk, and there is no run folder. Where the run does not fit it says what to change, and the exit
    code is 2. Give what you would give `haloes train`.

    Parameters
    ----------
    source
        A feedback file as for `haloes train`, or a YAML file with settings that names one.
    config
        A YAML file with settings (see `haloes schema`); --set and the other flags override it.
    model
        The model to align: a folder, a name on the hub, a .gguf file, or "embedded" (the default,
        SmolLM2-135M-Instruct).
    loss
        kto (the default, for thumbs), dpo (for pairs) or another of `haloes losses`, or path/to/file.py:Class.
    validation
        A file of held-out feedback; if left out, a tenth of the feedback is held out, by prompt.
    columns
        Which column is what, where names differ: completion=answer,label=thumb.
    memory
        Memory that the run may take, in GiB; what is free on the device if left out.
    json
        Print the numbers as JSON, in bytes and seconds, and nothing else.
    settings
        Any setting as section.key=value, such as train.microbatch_tokens=2048; may be given several times.
    """
    from haloes.cli.flags import flag_settings
    from haloes.cli.views.output import say, show
    from haloes.cli.views.plan import as_json, plan_lines
    from haloes.cli.views.progress import TerminalDisplay
    from haloes.errors import ConfigError
    from haloes.planning.plan import make_plan
    from haloes.report.numbers import GIB, size
    from haloes.runs.config import config_of_file, parse_settings

    if source is not None and Path(source).suffix in {".yaml", ".yml"}:
        if config is not None:
            raise ConfigError(f"{source} and {config} are both settings; give one of them")
        config, source = Path(source), None
    if memory is not None and not memory > 0:
        raise ConfigError(f"--memory must be positive, got {memory:g}")
    flags = flag_settings(source=source, model=model, loss=loss, validation=validation, columns=columns)
    chosen = config_of_file(config, flags, parse_settings(settings))
    with TerminalDisplay() as display:
        found = make_plan(chosen, limit=None if memory is None else int(memory * GIB), display=display)
    if json:
        say(as_json(found))
    else:
        show(plan_lines(found))
    if not found.fits:
        raise ConfigError(
            f"the run does not fit: it takes {size(max(found.training, found.sampling))}, "
            f"and {size(found.limit)} are there"
        )
