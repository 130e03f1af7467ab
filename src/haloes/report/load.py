"""
Read a run folder as it is: what is there becomes records, what is missing or damaged becomes a named gap.

A report is most wanted when a run went wrong, so nothing short of a missing folder makes this fail.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from haloes.bounded_yaml import load_yaml
from haloes.errors import DataError, RunError
from haloes.evaluation_results import BenchmarkNumbers, JudgedNumbers
from haloes.records import Completion, Message, Text
from haloes.records_json import sampling_from_json
from haloes.report.exported import ExportedFile
from haloes.results import AnswerRating, Reliability, Score, Taste
from haloes.results_json import Fields, as_fields, from_json, score_from_json
from haloes.run_files import (
    CALIBRATION,
    CONFIG,
    DATA,
    ENVIRONMENT,
    EVALUATION,
    EXPORTS,
    LOGGED_ANSWERS,
    METRICS,
    RATINGS,
    SAMPLES,
    SCORES,
    WARNINGS,
)

Read = TypeVar("Read")

_SEVERITIES = ("error", "warning")
"""Severities in the order in which they are shown; everything else is a note."""
_MOST_GAPS = 5
"""Damaged lines of one file that are named; the rest is counted."""

NOTHING_JUDGED = JudgedNumbers(matchups=(), agreement=(), comparisons=())
NO_BENCHMARKS = BenchmarkNumbers(results=(), notes=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something a reader of the run has to know."""

    severity: str
    """"error", "warning" or "note"."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecords:
    """Everything a run folder holds about what was done and what came out."""

    run_dir: Path
    config: Fields
    environment: Fields
    data: Fields
    train: tuple[Fields, ...]
    """Metrics of the training steps, in order of step; of a step logged twice (after a resume) the last."""
    validation: tuple[Fields, ...]
    scores: tuple[Score, ...]
    samples: tuple[Completion, ...]
    ratings: Mapping[tuple[str, str], AnswerRating]
    """By (prompt_id, model)."""
    warnings: tuple[Warned, ...]
    missing: tuple[str, ...]
    """Names of files that are not there, or hold nothing that can be used."""
    gaps: tuple[str, ...]
    """Damage that was left out, by file and line."""
    calibration: Reliability | None = None
    """Confidence of a reward model about held-out pairs, and how often it was right."""
    judged: JudgedNumbers = NOTHING_JUDGED
    """The numbers of its judges, where `haloes eval` wrote them."""
    benchmarks: BenchmarkNumbers = NO_BENCHMARKS
    """The numbers of its benchmarks, likewise."""
    taste: Taste | None = None
    """Whose verdicts the feedback holds; None where that was not counted, as in runs of before."""
    logged_answers: tuple[Score, ...] = ()
    """How likely the model before training finds the logged answers, by the model that gave them."""
    exported: tuple[ExportedFile, ...] = ()
    """Files that the model was converted to, in the order in which they were made."""


def load_run(run_dir: Path) -> RunRecords:
    """
    Read a run folder.

    Args:
        run_dir: the folder; any of its files may be missing or damaged.

    Raises:
        RunError: the folder does not exist.
    """
    if not run_dir.is_dir():
        raise RunError(f"{run_dir}: no such run folder; give the folder that `haloes train` wrote")
    files = _Files(run_dir)
    config = files.mapping(CONFIG, load_yaml)
    environment = files.mapping(ENVIRONMENT, json.loads)
    data = files.mapping(DATA, json.loads)
    metrics = files.rows(METRICS, _metrics)
    # Each part of an evaluation by itself: damage in one costs nothing of the other.
    evaluation = files.value(EVALUATION, json.loads, optional=True)
    judged = files.record(EVALUATION, evaluation, JudgedNumbers, part="judged") or NOTHING_JUDGED
    benchmarks = files.record(EVALUATION, evaluation, BenchmarkNumbers, part="benchmarks") or NO_BENCHMARKS
    calibration = files.record(CALIBRATION, files.value(CALIBRATION, json.loads, optional=True), Reliability)
    taste = files.record(DATA, data.get("taste"), Taste)
    logged_answers = files.rows(LOGGED_ANSWERS, score_from_json, optional=True)
    exported = files.rows(EXPORTS, lambda row: from_json(ExportedFile, row), optional=True)
    return RunRecords(
        run_dir=run_dir,
        config=config,
        environment=environment,
        data=data,
        train=_by_step(metrics, "train"),
        validation=_by_step(metrics, "validation"),
        scores=files.rows(SCORES, score_from_json),
        samples=files.rows(SAMPLES, _completion, optional=_asks_nothing(config)),
        ratings=dict(files.rows(RATINGS, _rating, optional=True)),
        warnings=_gravest_first((*files.warnings(), *_data_warnings(data))),
        missing=tuple(files.missing),
        gaps=tuple(files.gaps),
        calibration=calibration,
        judged=judged,
        benchmarks=benchmarks,
        taste=taste,
        logged_answers=logged_answers,
        exported=exported,
    )


def _asks_nothing(config: Fields) -> bool:
    """Return whether the run was told to have no prompts answered, as a reward model's is."""
    samples = config.get("samples")
    return isinstance(samples, dict) and samples.get("prompts") == 0


class _Files:
    """The files of a folder, with a list of what was missing and what could not be read."""

    def __init__(self, run_dir: Path) -> None:
        self._dir = run_dir
        self.missing: list[str] = []
        self.gaps: list[str] = []

    def text(self, name: str, *, optional: bool = False) -> str | None:
        try:
            # Bytes that are no UTF-8 are shown as such: a report must not fail for one broken answer.
            return (self._dir / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            if not optional:
                self.missing.append(name)
        except OSError as error:
            self.gaps.append(f"{name}: cannot be read ({error.strerror})")
        return None

    def value(self, name: str, parse: Callable[[str], Any], *, optional: bool = False) -> object:
        text = self.text(name, optional=optional)
        if text is None:
            return None
        try:
            return parse(text)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            self.gaps.append(f"{name}: cannot be read ({_first_line(error)})")
            return None

    def mapping(self, name: str, parse: Callable[[str], Any], *, optional: bool = False) -> Fields:
        value = self.value(name, parse, optional=optional)
        if value is not None and not isinstance(value, dict):
            self.gaps.append(f"{name}: expected named fields, found {type(value).__name__}")
        return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}

    def rows(self, name: str, parse: Callable[[Fields], Read], *, optional: bool = False) -> tuple[Read, ...]:
        text = self.text(name, optional=optional)
        out, bad = [], []
        for number, line in enumerate((text or "").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                out.append(parse(as_fields(json.loads(line))))
            except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError, DataError) as error:
                bad.append(f"{name}:{number}: left out ({_reason(error)})")
        self.gaps.extend(bad[:_MOST_GAPS])
        if len(bad) > _MOST_GAPS:
            self.gaps.append(f"{name}: {len(bad) - _MOST_GAPS} more lines left out")
        if text is not None and not out and not optional:
            self.missing.append(name)
        return tuple(out)

    def record(self, name: str, value: object, kind: type[Read], *, part: str = "") -> Read | None:
        """Read a record from what a JSON file holds, or from a part of it; None where it is missing or damaged."""
        try:
            given = as_fields(value).get(part) if part and value is not None else value
            return from_json(kind, given) if given else None
        except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
            again = "; `haloes eval` writes it again" if name == EVALUATION else ""
            # Both parts of a file may be damaged by one cause, which is named once.
            gap = f"{name}: left out ({_reason(error)}){again}"
            if gap not in self.gaps:
                self.gaps.append(gap)
            return None

    def warnings(self) -> tuple[Warned, ...]:
        value = self.value(WARNINGS, json.loads, optional=True)
        items = value if isinstance(value, list) else []
        return tuple(_warned(item) for item in items)


def _reason(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else _first_line(error)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _metrics(row: Fields) -> Fields:
    if row.get("split") not in {"train", "validation"}:
        raise ValueError(f"split is {row.get('split')!r}, not train or validation")
    return {**row, "step": int(row["step"])}


def _by_step(rows: tuple[Fields, ...], split: str) -> tuple[Fields, ...]:
    # A run that was resumed logs the steps since its checkpoint again, and the later row is the one that counts.
    last = {row["step"]: row for row in rows if row["split"] == split}
    return tuple(last[step] for step in sorted(last))


def _completion(row: Fields) -> Completion:
    return Completion(
        prompt_id=str(row["prompt_id"]),
        prompt=_text(row["prompt"]),
        completion=str(row["completion"]),
        model=str(row["model"]),
        num_tokens=int(row.get("num_tokens", 0)),
        finished=bool(row.get("finished", True)),
        reasoning=str(row.get("reasoning") or ""),
        seed=row.get("seed"),
        sampling=sampling_from_json(row.get("sampling"), where="an answer"),
    )


def _text(value: object) -> Text:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise TypeError(f"prompt is {type(value).__name__}, not text or messages")
    return tuple(Message(role=str(m["role"]), content=str(m.get("content") or "")) for m in value)


def _rating(row: Fields) -> tuple[tuple[str, str], AnswerRating]:
    rating = from_json(AnswerRating, row)
    return (rating.prompt_id, rating.model), rating


def _warned(item: object) -> Warned:
    if isinstance(item, dict):
        return Warned(severity=str(item.get("severity", "warning")), message=str(item.get("message", "")))
    return Warned(severity="warning", message=str(item))


def _gravest_first(warnings: Sequence[Warned]) -> tuple[Warned, ...]:
    """Keep each message once, errors before warnings before notes."""
    once: dict[str, Warned] = {}
    for warning in warnings:
        once.setdefault(warning.message, warning)
    rank = {severity: i for i, severity in enumerate(_SEVERITIES)}
    return tuple(sorted(once.values(), key=lambda warning: rank.get(warning.severity, len(rank))))


def _data_warnings(data: Fields) -> tuple[Warned, ...]:
    warnings = data.get("warnings")
    return tuple(_warned(item) for item in warnings) if isinstance(warnings, list) else ()
