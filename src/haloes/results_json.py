"""
Measured numbers to and from JSON: the writers and readers of the records of `results` and `evaluation_results`.

`numbers_to_json` writes all fields, also those at their default, and `from_json` reads them: a file of numbers says
that there was no canary rate. Only `scores.jsonl` leaves defaults out, as rows of feedback and answers do
(`haloes.records`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, TypeAlias, TypeGuard, TypeVar, cast, get_args, get_origin, get_type_hints

from haloes.errors import DataError
from haloes.evaluation_results import Evaluation
from haloes.records_json import row_to_json
from haloes.results import AnswerRating, HeldOutRow, Score
from haloes.run_files import HELD_OUT
from haloes.store import read_jsonl, write_json, write_jsonl

Fields: TypeAlias = Mapping[str, Any]
"""A JSON object."""

Record = TypeVar("Record")


def numbers_to_json(record: Any) -> dict[str, Any]:
    """Return all fields of a record as JSON-ready values, in order; every measured number is a whole `Score`."""
    return asdict(record)


def from_json(kind: type[Record], row: object) -> Record:
    """
    Read a record of this file; the inverse of `numbers_to_json`.

    Fields that the record does not have are left aside, so that files of a later version are read; those with a default
    may be missing, as in files of an earlier one.

    Args:
        kind: the record's class.
        row: what JSON gave.

    Raises:
        KeyError: a field is missing.
        TypeError: a value has another type than its field.
        ValueError: a number is not finite.
    """
    given = as_fields(row)
    read = {}
    for name, hint, required in _layout(cast("Any", kind)):
        if required or name in given:
            read[name] = _value(hint, given[name], name)
    return kind(**read)


def score_from_json(row: object) -> Score:
    """
    Read a `Score`; counts and method may be missing.

    Raises:
        TypeError: a field is missing or no text, or there are no fields.
        ValueError: its value, an end of its interval or its level is no finite number.
    """
    names = {f.name for f in fields(Score)}
    known = {name: value for name, value in as_fields(row).items() if name in names}
    score = Score(**{"num_rows": 0, "num_clusters": 0, "method": "", **known})
    if not all(
        isinstance(text, str) for text in (score.name, score.variant, score.label, score.method, score.no_interval)
    ):
        raise TypeError("the name, variant, label and method of a score, and why it has no interval, are texts")
    if not all(is_finite(number) for number in (score.value, score.low, score.high, score.level)):
        raise ValueError(f"{score.name} ({score.variant}) has no finite value and interval")
    return score


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write a run's scores, one a line and without defaults. Raises DataError where they cannot be written."""
    write_jsonl(path, map(row_to_json, scores))


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation as one JSON document. Raises DataError where it cannot be written."""
    write_json(path, numbers_to_json(evaluation))


def write_ratings(path: Path, ratings: Iterable[AnswerRating]) -> None:
    """Write ratings, one a line. Raises DataError where they cannot be written."""
    write_jsonl(path, map(numbers_to_json, ratings))


def read_held_out(run_dir: Path) -> list[HeldOutRow]:
    """
    Read the held-out rows of a run; none where there is no such file, as in runs of before haloes wrote it.

    Raises:
        DataError: a line is not one of them; the message names the file and the line.
    """
    path = run_dir / HELD_OUT
    return [_held_out_row(row, f"{path}:{number}") for number, row in read_jsonl(path)] if path.exists() else []


def as_fields(value: object) -> Fields:
    """Return a JSON object as it is. Raises TypeError where the value is anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected named fields, found {type(value).__name__}")
    return value


def is_finite(value: object) -> TypeGuard[int | float]:
    """Return whether a value of a JSON file is a number that can be drawn or compared."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


@cache
def _layout(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Return (name, type, whether it is required) of each field; hints are resolved once a class, not once a row."""
    hints = get_type_hints(kind)
    return tuple((f.name, hints[f.name], f.default is MISSING) for f in fields(kind))


def _value(kind: Any, value: object, name: str) -> Any:
    if kind is Score:
        return score_from_json(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return from_json(kind, value)
    if NoneType in get_args(kind):
        (inner,) = (one for one in get_args(kind) if one is not NoneType)
        return None if value is None else _value(inner, value, name)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{name} is {value!r}, not a list")
        return tuple(_value(get_args(kind)[0], item, name) for item in value)
    return _plain_value(kind, value, name)


def _plain_value(kind: type[Any], value: object, name: str) -> Any:
    if kind is float:
        if not is_finite(value):
            raise ValueError(f"{name} is {value!r}, not a finite number")
        return float(value)
    # JSON's true is an int to Python, and must not pass for a count.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}, not {_CALLED[kind]}")
    return value


_CALLED = {bool: "true or false", int: "a whole number", str: "text"}


def _held_out_row(row: Fields, where: str) -> HeldOutRow:
    known = {"reward": row["log_ratio"], **row} if "log_ratio" in row else row  # as runs of before called it
    try:
        return from_json(HeldOutRow, known)
    except KeyError as error:
        raise DataError(f"{where}: this is not a held-out row: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: label must be true or false, and reward and logp numbers; got {row}") from error
