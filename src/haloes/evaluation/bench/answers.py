"""A model's answers to a benchmark on disk: a line a question as it comes, and their settings in a file beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from haloes.errors import DataError, RunError
from haloes.journal import Journal
from haloes.store import read_json, write_json

_NAMES_ONLY = {"model", "title", "label", "others"}
"""Settings that are names only: they may change without making the answers other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchAnswer:
    """A question's reply and its scores."""

    subtask: str
    number: int
    """Index of the question's row in the subtask."""
    prompt: str
    """Hash of the text that the model was given."""
    reply: str | None
    logps: list[float] | None
    """Log-probabilities of the choices, in nats, where it was a choice."""
    extracted: dict[str, str]
    scores: dict[str, float | list[float]]
    cut: bool
    """The prompt lost its beginning, since it did not fit the model's window."""
    note: str

    @property
    def key(self) -> tuple[str, int]:
        """Return what names the question: equal before and after training."""
        return self.subtask, self.number


def claim_answers(
    folder: Path, benchmark: str, variant: str, settings: Mapping[str, Any]
) -> tuple[Journal[BenchAnswer], list[BenchAnswer]]:
    """
    Return the file for the answers of one model on one benchmark, and what it holds; write its settings beside it.

    The answers are in `<benchmark>.<variant>.jsonl`, the settings in `.json`.

    Raises:
        RunError: what is there was answered under other settings, or cannot be resumed.
        DataError: a line is damaged; the file stays as it is.
    """
    journal = _journal(folder / f"{benchmark}.{variant}.jsonl")
    about = journal.path.with_suffix(".json")

    def check(answers: Sequence[BenchAnswer]) -> None:
        known = read_json(about) if about.exists() else None
        if answers:
            # As they come back from the file: a tuple would differ from the list that it became.
            _require_same(journal.path, known, json.loads(json.dumps(settings)))
        elif known is None and journal.path.exists() and journal.path.stat().st_size:
            raise _unknown(journal.path)

    answers = journal.resume(check)
    write_json(about, settings)
    return journal, answers


def _journal(path: Path) -> Journal[BenchAnswer]:
    return Journal(
        path,
        first_key="subtask",
        load=_answer,
        dump=lambda answer: json.dumps(asdict(answer), ensure_ascii=False, allow_nan=False),
        advice="what was answered before is kept, and the same command goes on from it",
    )


def _require_same(path: Path, known: object, settings: Mapping[str, Any]) -> None:
    if not isinstance(known, dict):
        raise _unknown(path)
    for name, value in settings.items():
        if name not in _NAMES_ONLY and known.get(name) != value:
            raise RunError(
                f"{path} was begun with another {name.replace('_', ' ')} ({known.get(name)} and not {value}); "
                "restore the original, or give another folder (--bench-out)"
            )


def _unknown(path: Path) -> RunError:
    return RunError(f"{path.with_suffix('.json')} is missing, which says what {path.name} is; move that file away")


def read_answers(path: Path) -> tuple[dict[str, Any], list[BenchAnswer]]:
    """
    Read the settings and answers of a file.

    Raises:
        DataError: it is damaged.
    """
    about = path.with_suffix(".json")
    settings = read_json(about)
    if not isinstance(settings, dict) or not isinstance(settings.get("questions"), int):
        raise DataError(f"{about}: expected the settings of a benchmark")
    return settings, _journal(path).read()


def answer_files(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the files of answers in a folder, by benchmark and then by variant."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.*.jsonl")):
        benchmark, _, variant = path.name.removesuffix(".jsonl").rpartition(".")
        if path.with_suffix(".json").is_file():
            found.setdefault(benchmark, {})[variant] = path
    return found


def _answer(row: Mapping[str, Any], where: str) -> BenchAnswer:
    try:
        found = BenchAnswer(**{name: row[name] for name in BenchAnswer.__slots__})
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
