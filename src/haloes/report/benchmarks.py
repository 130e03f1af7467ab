"""What a run scores on benchmarks, as `haloes eval --bench` wrote it down, in the words of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from markupsafe import Markup

from haloes.records import Score
from haloes.report import charts
from haloes.report.judged import score_of
from haloes.report.numbers import is_finite

Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskScores:
    """One subtask, before and after."""

    name: str
    before: Score | None
    after: Score | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """One benchmark."""

    title: str
    label: str
    """What the score is."""
    asked: str
    before: Score | None
    after: Score | None
    difference: Score | None
    gained: int
    lost: int
    same: int
    p_value: float | None
    p_holm: float | None
    others: tuple[Score, ...]
    subtasks: tuple[SubtaskScores, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTable:
    """All benchmarks of a run."""

    rows: tuple[BenchmarkRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def corrected(self) -> int:
        """How many comparisons the p-values are corrected for."""
        return sum(row.difference is not None for row in self.rows)


def benchmark_table(evaluation: Fields) -> BenchmarkTable:
    """
    The benchmarks of an evaluation.

    Raises KeyError, TypeError, ValueError or AttributeError where it is not what `haloes eval` writes.
    """
    found = evaluation.get("benchmarks")
    if not found:
        return BenchmarkTable()
    return BenchmarkTable(
        rows=tuple(_row(result) for result in found["results"]), notes=tuple(str(note) for note in found["notes"])
    )


def sides_chart(row: BenchmarkRow) -> Markup | None:
    """Before and after with their intervals, in percent."""
    sides = [("before", row.before), ("after", row.after)]
    bars = [(tone, 100 * score.value, 100 * score.low, 100 * score.high) for tone, score in sides if score is not None]
    return charts.intervals(bars) if bars else None


def _row(result: Fields) -> BenchmarkRow:
    scores = [score_of(score) for score in result["scores"]]
    parts = [score_of(score) for score in result["subtasks"]]
    change = result["change"]
    test: Fields = change["test"] if change else {}
    return BenchmarkRow(
        title=str(result["title"]),
        label=str(result["label"]),
        asked=str(result["asked"]),
        before=_side(scores, "before"),
        after=_side(scores, "after"),
        difference=score_of(change["score"]) if change else None,
        gained=int(test.get("up", 0)),
        lost=int(test.get("down", 0)),
        same=int(test.get("same", 0)),
        p_value=_number(test.get("p_value")),
        p_holm=_number(change["p_holm"]) if change else None,
        others=tuple(score_of(score) for score in result["others"]),
        subtasks=tuple(
            SubtaskScores(name=name, before=_side(some, "before"), after=_side(some, "after"))
            for name in dict.fromkeys(score.label for score in parts)
            for some in [[score for score in parts if score.label == name]]
        ),
        notes=tuple(str(note) for note in result["notes"]),
    )


def _side(scores: Sequence[Score], variant: str) -> Score | None:
    return next((score for score in scores if score.variant == variant), None)


def _number(value: object) -> float | None:
    return float(value) if is_finite(value) else None
