"""How a converted file compared with the run's model, kept in the run's folder and shown in its report."""

from datetime import UTC, datetime
from pathlib import Path

from haloes.errors import DataError
from haloes.exports.comparison import Comparison
from haloes.report.exported import ExportedFile
from haloes.report.page import write_report
from haloes.results_json import numbers_to_json
from haloes.run_files import EXPORTS
from haloes.store import read_jsonl, write_jsonl


def keep_comparison(run_dir: Path, file: Path, comparison: Comparison) -> str | None:
    """
    Add a comparison to a run's folder, and write its report again.

    Args:
        run_dir: the run's folder.
        file: the converted file.
        comparison: what was compared.

    Returns:
        A sentence where that folder cannot be written, which the file does not depend on; None elsewhere.
    """
    record = ExportedFile(
        file=file.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        compared=comparison.sentence(),
        faults=comparison.faults,
    )
    path = run_dir / EXPORTS
    try:
        earlier = [row for _, row in read_jsonl(path)] if path.is_file() else []
        write_jsonl(path, [*earlier, {**numbers_to_json(record), "comparison": comparison.to_json()}])
        write_report(run_dir)
    except DataError as error:
        return f"The run's report does not tell of this file: {error}"
    return None
