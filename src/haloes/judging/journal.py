"""Judgements on disk as they come: a line each, kept whatever happens next."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from haloes.errors import ConfigError, RunError
from haloes.records import Judgement, judgement_from_json, to_json
from haloes.store import read_growing, write_jsonl


class Journal:
    """A file of judgements that is gone on with; use as a context manager."""

    def __init__(self, path: Path) -> None:
        """
        Read what is there. A last line that a kill cut off is taken away; the judgement is asked for again.

        Raises DataError, with file and line, where a row is no judgement; ConfigError for another ending than .jsonl.
        """
        if path.suffix != ".jsonl":
            raise ConfigError(f"{path}: give a name that ends in .jsonl; judgements are added to it line by line")
        self.path = path
        self._file: BinaryIO | None = None
        rows, end = read_growing(path, first_key="prompt_id")
        self.kept = [judgement_from_json(row, where=f"{path}:{number}") for number, row in rows]
        if path.exists():
            _cut(path, end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, judgement: Judgement) -> None:
        """Write a judgement. Raises RunError where the disk is full or cannot be written."""
        line = json.dumps(to_json(judgement), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab")
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror or error}); what was judged before is there, and the "
                "same command goes on from it"
            ) from error
        self.kept.append(judgement)

    def sort(self, order: dict[str, int]) -> None:
        """Put the lines in this order of their fingerprints, however the replies came in; others go last."""
        ranked = sorted(self.kept, key=lambda judgement: order.get(judgement.fingerprint, len(order)))
        if ranked != self.kept:
            write_jsonl(self.path, map(to_json, ranked))
            self.kept = ranked


def _cut(path: Path, end: int) -> None:
    """Take away what stands after this byte: a last line without its end."""
    try:
        if path.stat().st_size > end:
            os.truncate(path, end)
    except OSError as error:
        raise RunError(f"{path} cannot be gone on with ({error.strerror or error}); give another place") from error
