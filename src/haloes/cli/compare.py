"""`haloes compare`: several runs beside each other."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def compare(
    runs: Annotated[tuple[Path, ...], Parameter(name=["RUNS"])],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("compare.html"),
    seed: int = 0,
) -> None:
    """Several runs on one page: differing settings, paired differences on shared rows, win rates, curves.

    Parameters
    ----------
    runs
        Two or more run folders.
    out
        The page.
    seed
        Of the bootstrap draws.
    """
    import haloes.api.evaluation
    from haloes.cli.views.compare import comparison_tables
    from haloes.cli.views.output import say, show
    from haloes.progress.display import Display

    with Display(patience=2.0) as progress:
        compared = haloes.api.evaluation.compare(runs, out=out, seed=seed, progress=progress)
    show(comparison_tables(compared))
    for note in compared.notes:
        say(note)
    say(f"Page: {out}")
