"""Any feedback file as canonical records on disk."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, DataError
from haloes.progress.contract import Progress
from haloes.records import Record, Refusal, memory_name, row_to_json
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import open_rows, tell_reading
from haloes.store import write_jsonl, write_parquet


def write_records(
    settings: FeedbackSettings, out: Path, *, pairs: bool, progress: Progress
) -> tuple[int, Counter[str], dict[str, int]]:
    """
    Read the configured feedback, convert it, and write it atomically.

    Args:
        settings: what is read, and how.
        out: `.jsonl`, `.jsonl.gz` or `.parquet`.
        pairs: write pairs instead of single labelled answers.
        progress: told how far the reading is.

    Returns:
        How many records were written, how many rows were refused for which reason, and how much personal data of which
        kind was replaced.

    Raises:
        DataError: the source cannot be read at all, or no row of it can be used; nothing is written then.
        ConfigError: the ending of `out` is none of these.
    """
    source, refused = settings.source, Counter[str]()
    opened = open_rows(source, settings, pairs=pairs)
    rows = tell_reading(opened, progress, f"writing {out.name}")
    if out.suffix == ".parquet":
        return write_parquet(out, _records(rows, source, refused)), refused, opened.scrubbed
    if out.name.endswith((".jsonl", ".jsonl.gz")):
        return write_jsonl(out, _records(rows, source, refused)), refused, opened.scrubbed
    raise ConfigError(f"{out}: give a name that ends in .jsonl, .jsonl.gz or .parquet")


def _records(rows: Iterable[Record], source: str, refused: Counter[str]) -> Iterator[dict[str, Any]]:
    written = 0
    for row in rows:
        if isinstance(row, Refusal):
            refused[row.reason] += 1
        else:
            written += 1
            yield row_to_json(row)
    if not written:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in refused.most_common())
        raise DataError(f"{memory_name(source) or source}: no row can be used: {reasons or 'there are none'}")
