"""`haloes losses plot`: losses as curves."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def plot(
    names: Annotated[list[str], Parameter(name=["NAME"])],
    /,
    *,
    span: Annotated[tuple[float, float] | None, Parameter(name=["--range"], negative=())] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Draw the human value that losses imply, against the reward of an answer, and their gradients.

    Desirable answers are drawn solid, undesirable ones dashed. Values are up to a constant, and 0 at 0.

    Parameters
    ----------
    names
        Losses of the list, or path/to/file.py:Class.
    span
        The rewards to look at, such as --range -20 20; by default until the slowest loss is flat.
    out
        Also write the picture as this SVG file.
    settings
        Hyperparameters, such as loss.beta=1; each is set in those losses that have it.
    """
    from haloes.cli.views.output import say, width
    from haloes.cli.views.output import show as shown
    from haloes.guide.curves import loss_panels, section_of_loss
    from haloes.report.plot import terminal
    from haloes.report.plot_svg import write_svg
    from haloes.runs.config import parse_settings

    panels = loss_panels(names, settings=section_of_loss(parse_settings(settings)), span=span)
    shown(line for panel in panels for line in [*terminal(panel, width=width()), ""])
    if out is not None:
        write_svg(panels, out)
        say(f"The picture is in {out}")
