"""Write the report of a run into its folder."""

from pathlib import Path

from haloes.report.load import load_run
from haloes.report.page import page
from haloes.run_files import REPORT
from haloes.store import write_text


def write_report(run_dir: Path) -> Path:
    """
    Write `report.html` into a run folder, from whatever that folder holds, and return its path.

    Raises:
        RunError: the folder does not exist.
        DataError: the page cannot be written.
    """
    path = run_dir / REPORT
    write_text(path, page(load_run(run_dir)))
    return path
