"""What a model answered on a benchmark: a line a question as it comes, beside it the settings that it is true of."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from haloes.errors import DataError, RunError
from haloes.store import read_growing, read_json, write_json

_FREE = {"model", "title", "label", "others"}
"""Settings that say how something is called, and not what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question, what the model said to it, and what that is worth."""

    subtask: str
    number: int
    """The question's place among the subtask's rows."""
    prompt: str
    """Hash of the text that the model was given."""
    reply: str | None
    logps: list[float] | None
    """Of the choices, where it was a choice."""
    extracted: dict[str, str]
    scores: dict[str, float | list[float]]
    cut: bool
    """The prompt lost its beginning, for it did not fit the model's window."""
    note: str

    @property
    def key(self) -> tuple[str, int]:
        """What is equal before and after."""
        return self.subtask, self.number


class Journal:
    """The answers of one model on one benchmark: `<benchmark>.<variant>.jsonl`, settings in `.json`."""

    def __init__(self, folder: Path, benchmark: str, variant: str) -> None:
        """Nothing is read or written yet."""
        self.path = folder / f"{benchmark}.{variant}.jsonl"
        self.about = self.path.with_suffix(".json")

    def claim(self, settings: Mapping[str, Any]) -> list[Answered]:
        """
        Begin, or go on with what is there; gives back what was answered before.

        Raises:
            RunError: what is there was answered under other settings, or cannot be gone on with.
            DataError: a line is damaged; the file stays as it is.
        """
        answered, end = self._read()
        known = read_json(self.about) if self.about.exists() else None
        if answered:
            self._require_same(known, json.loads(json.dumps(settings)))
        elif known is None and self.path.exists() and self.path.stat().st_size > end:
            raise RunError(f"{self.about} is missing, which says what {self.path.name} is; move that file away")
        write_json(self.about, settings)
        if self.path.exists():
            with self._writing():
                os.truncate(self.path, end)
        return answered

    def _require_same(self, known: object, settings: Mapping[str, Any]) -> None:
        if not isinstance(known, dict):
            raise RunError(f"{self.about} is missing, which says what {self.path.name} is; move that file away")
        for name, value in settings.items():
            if name not in _FREE and known.get(name) != value:
                raise RunError(
                    f"{self.path} was begun with another {name.replace('_', ' ')} ({known.get(name)} and not {value}); "
                    "give back what it was, or another folder (--bench-out)"
                )

    def add(self, answers: Iterable[Answered]) -> None:
        """Write answers. Raises RunError where that fails."""
        lines = [json.dumps(asdict(one), ensure_ascii=False, allow_nan=False) + "\n" for one in answers]
        with self._writing(), self.path.open("ab") as file:
            file.write("".join(lines).encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror or error}); what was answered before is kept, and the "
                "same command goes on from it"
            ) from error

    def _read(self) -> tuple[list[Answered], int]:
        rows, end = read_growing(self.path, first_key="subtask")
        return [_answered(row, f"{self.path}:{number}") for number, row in rows], end


def read_journal(path: Path) -> tuple[dict[str, Any], list[Answered]]:
    """
    The settings and answers of a file.

    Raises:
        DataError: it is damaged.
    """
    about = path.with_suffix(".json")
    settings = read_json(about)
    if not isinstance(settings, dict) or not isinstance(settings.get("questions"), int):
        raise DataError(f"{about}: expected the settings of a benchmark")
    rows, _ = read_growing(path, first_key="subtask")
    return settings, [_answered(row, f"{path}:{number}") for number, row in rows]


def journals(folder: Path) -> dict[str, dict[str, Path]]:
    """Of each benchmark in a folder, the files by variant."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.*.jsonl")):
        benchmark, _, variant = path.name.removesuffix(".jsonl").rpartition(".")
        if path.with_suffix(".json").is_file():
            found.setdefault(benchmark, {})[variant] = path
    return found


def _answered(row: Mapping[str, Any], where: str) -> Answered:
    try:
        found = Answered(**{name: row[name] for name in Answered.__slots__})
    except KeyError as error:
        raise DataError(f"{where}: this is no answer to a benchmark's question: it has no {error}") from error
    if not isinstance(found.number, int) or not isinstance(found.scores, dict):
        raise DataError(f"{where}: number must be a whole number and scores must have names")
    for name, value in found.scores.items():
        if not all(_is_share(one) for one in _parts(value)):
            raise DataError(f"{where}: the score {name} must be a number in [0, 1], got {value!r}")
    return found


def _parts(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value) and 0 <= value <= 1
