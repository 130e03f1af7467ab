"""
Every number that a run or an evaluation makes, as one frozen record each, with its writers and readers.

`numbers_to_json` writes all fields, also those at their default, and `from_json` reads them: a file of numbers says
that there was no canary rate. Only `scores.jsonl` leaves defaults out, as rows of feedback and answers do
(`haloes.records`).

Code that computes, shows or stores a number uses its record here, so that a new number is added in one place. The
fields of a record are its keys on disk, in this order:

- `scores.jsonl` of a run: a `Score` a line;
- `evaluation.json` of a run, or beside a file of judgements: `Evaluation`;
- `held_out.jsonl`: a `HeldOutRow` a line;
- `ratings.jsonl`: an `AnswerRating` a line;
- `calibration.json` of a reward model: `Reliability`.

To add a number, add a field with a default (so that files from before it are still read), fill it where the record is
made (`stats` or `evaluation`), and show it (`report`, `cli/views`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, TypeAlias, TypeGuard, TypeVar, cast, get_args, get_origin, get_type_hints

from haloes.errors import DataError
from haloes.records import row_to_json
from haloes.run_files import HELD_OUT
from haloes.store import read_jsonl, write_json, write_jsonl

Fields: TypeAlias = Mapping[str, Any]
"""A JSON object."""

Record = TypeVar("Record")

_EVEN = 0.5


# --- a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A measured number with its confidence interval."""

    name: str
    """Name of the quantity: "auc", "liked", "words", "kl" ..."""
    value: float
    low: float
    high: float
    level: float = 0.95
    """Coverage of the interval [low, high]."""
    variant: str
    """Model that the number is about: "before", "after", "difference" ..."""
    num_rows: int
    num_clusters: int
    """Number of independent units (prompts) that the interval rests on."""
    method: str
    """Method that made the interval."""
    label: str = ""
    """Name of the number in a report; empty: `name`."""


# --- single answers


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRating:
    """The rater's verdict on one sampled answer."""

    prompt_id: str
    model: str
    """The model that answered, as in `Completion`."""
    liked: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRow:
    """One held-out answer and its implied reward."""

    where: str
    """The file:line that it was read from."""
    label: bool
    """True for desirable."""
    group: str
    """Hash of the prompt; equal wherever the prompt is."""
    answer: str
    """Hash of the answer's tokens: equal in runs with the same tokenizer wherever the answer is."""
    reward: float
    """The implied reward: log p of the model minus log p of the model before training, in nats. Of a reward model, what
    it gives."""
    logp: float | None
    """log p of the answer, in nats; None of a reward model."""
    tokens: int
    """Tokens of the answer, those that are trained."""


# --- rewards as probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Rows with similar predicted probabilities: how many of them are desirable?"""

    predicted: float
    """Mean predicted probability."""
    desirable: float
    """Share of desirable rows."""
    low: float
    """Wilson's interval of that share, as if the rows were independent."""
    high: float
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Predicted probabilities against shares of desirable rows."""

    expected_error: float
    """Expected calibration error: the mean distance of the bins' shares from their predictions, weighted by rows."""
    expected_error_by_chance: float
    """The error that 95 % of perfectly calibrated models would stay below on as many rows; it is never zero."""
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The implied reward as a probability: its scale, and how far it is off."""

    scale: float
    """Factor of the reward in P(desirable) = sigmoid(scale * reward); negative where it ranks the wrong way round."""
    brier: Score
    """Mean squared error of the probabilities: 0 is perfect, 0.25 is saying one half throughout."""
    expected_error: float
    """As in `Reliability`."""
    expected_error_by_chance: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFree:
    """The numbers of one run or one file of answers that need no judge."""

    source: str
    scores: tuple[Score, ...]
    calibration: Calibration | None


# --- judgements


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """Two answers to one prompt, and what one judge preferred in each order."""

    prompt_id: str
    candidate: str
    baseline: str
    judge: str
    draw: int = 0
    """Number of the prompt's answers that were compared, as in `Judgement`."""
    shown_first: float | None = None
    """Preference in [0, 1] for the candidate's answer when it stood first; None where that was not scored."""
    shown_second: float | None = None
    """The same when it stood second."""
    preference: float | None = None
    """The mean of the two; None where one of them was not scored."""
    candidate_length: int | None = None
    """Characters of the candidate's answer."""
    baseline_length: int | None = None

    @property
    def outcome(self) -> str:
        """Return what became of the candidate: "won", "beaten", "tied" or "unscored"."""
        if self.preference is None:
            return "unscored"
        return "tied" if self.preference == _EVEN else "won" if self.preference > _EVEN else "beaten"

    @property
    def flipped(self) -> bool:
        """Return whether the two orders had different winners."""
        if self.shown_first is None or self.shown_second is None:
            return False
        return (self.shown_first - _EVEN) * (self.shown_second - _EVEN) < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTest:
    """Rows that went up, down, or stayed, and how surprising that is if up and down were equally likely."""

    up: int
    down: int
    same: int
    p_value: float
    """Two-sided and exact; 1 where nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """A length-controlled win rate and the regression it comes from."""

    score: Score
    theta: float
    """Log-odds of being preferred at equal length (and difficulty 0)."""
    phi_length: float
    """Weight of tanh(standardised baseline length - length): negative where the judge prefers longer answers."""
    psi_difficulty: float | None
    """Weight of the instruction's difficulty; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """One model's (or run's) number minus another's, on what both were measured on."""

    model: str
    other: str
    score: Score
    """The model's number minus the other's."""
    p_value: float
    p_holm: float
    """The p-value corrected for all comparisons made together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matchup:
    """One model against another by one judge, both orders taken together."""

    candidate: str
    baseline: str
    judge: str
    wins: int
    ties: int
    losses: int
    unscored: int
    """Comparisons in which one of the two orders has no verdict."""
    num_prompts: int
    sign_test: SignTest
    smallest_difference: float | None
    """Distance from one half that a win rate must have for this many prompts to show it in 4 of 5 tries."""
    win_rate: Score | None
    length_controlled: LengthControlled | None
    position_bias: Score | None
    flip_rate: Score | None
    canary_rate: Score | None
    """Preference for answers that only ask to be chosen; None where none were mixed in."""
    by_length: tuple[Score, ...]
    """The win rate where the candidate's answer is shorter, ..., longer; the label says by how many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedNumbers:
    """All that follows from judgements."""

    matchups: tuple[Matchup, ...]
    agreement: tuple[Score, ...]
    ratings: tuple[Score, ...] = ()
    """Bradley-Terry ratings of each model (`variant`), in log-odds; `label` names the judge."""
    differences: tuple[PairedDifference, ...] = ()
    """Paired, with p-values that are corrected by Holm's method within each judge and opponent."""
    comparisons: tuple[JudgedPair, ...]
    notes: tuple[str, ...] = ()


# --- AlpacaEval


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """The numbers of one model on AlpacaEval's leaderboard; rates in percent."""

    win_rate: float
    standard_error: float | None
    """Sample standard deviation by the root of the number; None for a single preference."""
    discrete_win_rate: float
    """The win rate of the preferences rounded to win, draw or loss."""
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaEvalRow:
    """One model by one annotator; what AlpacaEval gives in percent is in percent."""

    generator: str
    annotator: str
    leaderboard: LeaderboardRow
    win_rate: Score | None
    """The same win rate as a share, with an interval from resampling instructions."""
    average_length: float | None
    length_controlled: float | None
    """From the weights that were given, in percent."""
    fitted: Score | None
    """Without such weights: from a regression on these preferences alone, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaEval:
    """The table, best first for each annotator, and the paired differences where few models are compared."""

    rows: tuple[AlpacaEvalRow, ...]
    differences: tuple[PairedDifference, ...]


# --- benchmarks


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkChange:
    """The change of scores on the same questions."""

    score: Score
    """The mean after minus the mean before."""
    test: SignTest
    """Questions that went up, down or stayed, and the exact p-value; with right/wrong scores, McNemar's exact test."""
    p_holm: float
    """The p-value corrected for all benchmarks that were compared together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """One benchmark."""

    name: str
    title: str
    label: str
    """Meaning of the score."""
    scores: tuple[Score, ...]
    """The score that counts, of each model (`variant`)."""
    change: BenchmarkChange | None
    """After minus before, on the same questions."""
    others: tuple[Score, ...]
    """Further metrics, of each model."""
    subtasks: tuple[Score, ...]
    """Scores of each model and subtask, where there are several; no interval where a subtask has one question."""
    questions: int
    of: int
    """Questions that the benchmark has."""
    asked: str
    """A sentence: which questions were asked, and how they were put."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkNumbers:
    """All benchmarks of a run or a model."""

    results: tuple[BenchmarkResult, ...]
    notes: tuple[str, ...]

    @property
    def corrected(self) -> int:
        """Return how many comparisons the p-values are corrected for."""
        return sum(result.change is not None for result in self.results)


# --- all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All numbers of one `haloes eval`."""

    judged: JudgedNumbers | None
    """None where there are no judgements."""
    judge_free: tuple[JudgeFree, ...]
    alpaca_eval: AlpacaEval | None
    benchmarks: BenchmarkNumbers | None = None
    """None where no benchmark was asked."""
    notes: tuple[str, ...] = ()
    """Warnings for a reader of the numbers, such as that answers were not made alike."""


# --- to and from JSON


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
    if not all(isinstance(text, str) for text in (score.name, score.variant, score.label, score.method)):
        raise TypeError("the name, variant, label and method of a score are texts")
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
