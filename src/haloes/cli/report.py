"""`haloes report`: make a run's page again from what its folder holds."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(run: Annotated[Path, Parameter(name=["RUN"])], /) -> None:
    """Write a run's report.html again, and summarise it here; also for a run that is not finished.

    Parameters
    ----------
    run
        The run's folder.
    """
    from haloes.cli.views.output import show
    from haloes.cli.views.run import summary_lines
    from haloes.evaluation.evaluate import write_judged_report
    from haloes.run_files import check_is_run

    check_is_run(run)
    write_judged_report(run)
    show(summary_lines(run))
