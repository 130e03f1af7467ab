"""A run's benchmarks as the page shows them: both sides of each, and of each subtask."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from haloes.evaluation_results import BenchmarkResult
from haloes.report import charts
from haloes.results import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The scores of the model before and after training on one benchmark or subtask."""

    name: str
    before: Score | None
    after: Score | None


def sides(result: BenchmarkResult) -> Sides:
    """Return the scores that count."""
    return _sides(result.title, result.scores)


def subtask_sides(result: BenchmarkResult) -> tuple[Sides, ...]:
    """Return the scores of each subtask, in the order of the record."""
    names = dict.fromkeys(score.label for score in result.subtasks)
    return tuple(_sides(name, [score for score in result.subtasks if score.label == name]) for name in names)


def sides_chart(found: Sides) -> Markup | None:
    """Draw before and after with their intervals, in percent; None where there is neither."""
    both = [("before", found.before), ("after", found.after)]
    bars = [(tone, 100 * score.value, 100 * score.low, 100 * score.high) for tone, score in both if score is not None]
    return charts.intervals(bars) if bars else None


def _sides(name: str, scores: Sequence[Score]) -> Sides:
    by_variant = {score.variant: score for score in reversed(scores)}
    return Sides(name=name, before=by_variant.get("before"), after=by_variant.get("after"))
