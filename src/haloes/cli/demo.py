"""`haloes demo`: the main job on feedback that ships with haloes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.cli.finished import carry_out


def demo(
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Align SmolLM2-135M-Instruct with feedback that ships with haloes, and show what changed.

    Parameters
    ----------
    out
        The run's folder; runs/demo-<number> if left out.
    settings
        Any setting as section.key=value.
    """
    from haloes.cli.folders import numbered
    from haloes.recipes.demo.recipe import demo_config
    from haloes.runs.config import parse_settings

    carry_out(demo_config(parse_settings(settings)), out or numbered("demo"), resume=False)
