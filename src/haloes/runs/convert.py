"""Any feedback file as canonical records on disk."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, DataError
from haloes.progress.contract import Progress
from haloes.records import Record, Refusal, memory_name
from haloes.records_json import row_to_json
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import open_rows, tell_reading
from haloes.store import write_jsonl, write_parquet


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of the rows of a file."""

    num: int
    """Number of records that were written."""
    refused: Counter[str]
    """Number of rows that were refused, by reason."""
    replaced: dict[str, int]
    """How much personal data was replaced, by kind."""
    export: str | None
    """The layout of the tool's export that was recognised; None for a file of any other kind."""


def write_records(settings: FeedbackSettings, out: Path, *, pairs: bool, progress: Progress) -> Written:
    """
    Read the configured feedback, convert it, and write it atomically.

    Args:
        settings: what is read, and how.
        out: `.jsonl`, `.jsonl.gz` or `.parquet`.
        pairs: write pairs instead of single labelled answers.
        progress: told how far the reading is.

    Returns:
        What was written, and what was left out and replaced.

    Raises:
        DataError: the source cannot be read at all, or no row of it can be used; nothing is written then.
        ConfigError: the ending of `out` is none of these.
    """
    source, refused = settings.source, Counter[str]()
    opened = open_rows(source, settings, pairs=pairs)
    rows = tell_reading(opened, progress, f"writing {out.name}")
    if out.suffix == ".parquet":
        num = write_parquet(out, _records(rows, source, refused))
    elif out.name.endswith((".jsonl", ".jsonl.gz")):
        num = write_jsonl(out, _records(rows, source, refused))
    else:
        raise ConfigError(f"{out}: give a name that ends in .jsonl, .jsonl.gz or .parquet")
    return Written(num=num, refused=refused, replaced=opened.scrubbed, export=opened.export)


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
