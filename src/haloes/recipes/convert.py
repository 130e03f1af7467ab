"""Any feedback file as canonical records on disk."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError
from haloes.recipes.config import RunConfig
from haloes.recipes.rows import Rows, open_rows
from haloes.records import Refusal, to_json
from haloes.store import write_jsonl, write_parquet


def write_records(config: RunConfig, out: Path, *, pairs: bool) -> tuple[int, Counter[str]]:
    """
    Read the configured feedback, convert it, and write it atomically.

    Args:
        config: its section `feedback` says what is read and how.
        out: `.jsonl`, `.jsonl.gz` or `.parquet`.
        pairs: write pairs instead of single labelled answers.

    Returns:
        How many records were written, and how many rows were refused for which reason.

    Raises:
        DataError: the source cannot be read at all.
        ConfigError: the ending of `out` is none of these.
    """
    rows = open_rows(config.feedback.source, config.feedback, pairs=pairs, seed=config.train.seed)
    refused: Counter[str] = Counter()
    if out.suffix == ".parquet":
        return write_parquet(out, _records(rows, refused)), refused
    if out.name.endswith((".jsonl", ".jsonl.gz")):
        return write_jsonl(out, _records(rows, refused)), refused
    raise ConfigError(f"{out}: give a name that ends in .jsonl, .jsonl.gz or .parquet")


def _records(rows: Rows, refused: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if isinstance(row, Refusal):
            refused[row.reason] += 1
        else:
            yield to_json(row)
