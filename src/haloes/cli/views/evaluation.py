"""An evaluation on the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from haloes.cli.views.tables import differences_table, percent, scores_table, table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from haloes.evaluation_results import (
        AlpacaEval,
        AlpacaEvalRow,
        BenchmarkNumbers,
        BenchmarkResult,
        Evaluation,
        JudgedNumbers,
        Matchup,
    )
    from haloes.results import JudgeFree, Score


def evaluation_lines(evaluation: "Evaluation") -> "Iterator[RenderableType]":
    """Draw an evaluation: judges, judge-free numbers, AlpacaEval, benchmarks, and the notes to read with them."""
    from rich.text import Text

    if evaluation.judged is not None:
        yield from _judged(evaluation.judged)
    for source in evaluation.judge_free:
        yield from _judge_free(source)
    if evaluation.alpaca_eval is not None:
        yield from _alpaca(evaluation.alpaca_eval)
    if evaluation.benchmarks is not None:
        yield from _benchmarks(evaluation.benchmarks)
    for note in evaluation.notes:
        yield Text(f"Note: {note}", style="yellow")


def _judged(numbers: "JudgedNumbers") -> "Iterator[RenderableType]":
    from rich.text import Text

    for matchup in numbers.matchups:
        yield Text("\n".join(_matchup(matchup)) + "\n")
    if numbers.agreement:
        yield scores_table("Agreement of judges, beyond chance", numbers.agreement)
    if numbers.refusals:
        yield scores_table("Refusals, as shares", numbers.refusals)
    if numbers.ratings:
        yield scores_table("Bradley-Terry ratings, in log-odds around a mean of 0", numbers.ratings)
    for name, label in dict.fromkeys((d.score.name, d.score.label) for d in numbers.differences):
        compared = [d for d in numbers.differences if (d.score.name, d.score.label) == (name, label)]
        yield differences_table(f"Differences in {name.replace('_', ' ')}, {label}", compared)
    for note in numbers.notes:
        yield Text(note, style="yellow")


def _matchup(matchup: "Matchup") -> Iterator[str]:
    from haloes.report.judged import position_note
    from haloes.report.numbers import measure_of

    test, smallest = matchup.sign_test, matchup.smallest_difference
    yield f"{matchup.candidate} against {matchup.baseline}, by {matchup.judge}, {matchup.num_prompts} scored prompts"
    yield f"  {matchup.wins} wins, {matchup.ties} ties, {matchup.losses} losses, {matchup.unscored} unscored"
    yield f"  win rate: {percent(matchup.win_rate)}"
    if (controlled := matchup.length_controlled) is not None:
        yield f"  {measure_of(controlled.score).title.lower()}: {percent(controlled.score)}"
        if controlled.caution:
            yield f"    {controlled.caution}"
    yield f"  sign test: {test.up} prompts for it, {test.down} against it, p = {test.p_value:.3g}"
    if smallest is None:
        yield "  so few prompts show no difference, however large"
    else:
        yield f"  so many prompts show (in 4 of 5 tries) a win rate of {0.5 + smallest:.1%} or {0.5 - smallest:.1%}"
    yield f"  verdicts for the first place: {percent(matchup.position_bias)}"
    yield f"  verdicts that flip with the order: {percent(matchup.flip_rate)}"
    if (note := position_note(matchup.position_bias, matchup.flip_rate)) is not None:
        yield f"  Warning: {note}."
    if matchup.canary_rate is not None:
        yield f"  preference for answers that only ask to be chosen: {percent(matchup.canary_rate)}"
    for score in matchup.by_length:
        yield f"  win rate where its length differs by {score.label}: {percent(score)}"


def _judge_free(source: "JudgeFree") -> "Iterator[RenderableType]":
    from rich.text import Text

    from haloes.evaluation.judge_free import LABELS

    scores = [replace(score, label=score.label or LABELS.get(score.name, "")) for score in source.scores]
    if scores:
        yield scores_table(f"{source.source}, without a judge", scores)
    if source.calibration is not None:
        fit = source.calibration
        yield Text(
            f"The implied reward as a probability, P(desirable) = sigmoid({fit.scale:.3g} reward), its scale fitted to "
            "these rows (in each draw of the interval anew, so that it has none of its own):\n"
            f"  Brier score {fit.brier.value:.3f} ({fit.brier.low:.3f} to {fit.brier.high:.3f}; 0.25 says nothing)\n"
            f"  expected calibration error {fit.expected_error:.3f} (no interval: it is above 0 by chance alone, up to "
            f"{fit.expected_error_by_chance:.3f})\n"
        )


def _alpaca(alpaca: "AlpacaEval") -> "Iterator[RenderableType]":
    for annotator in dict.fromkeys(row.annotator for row in alpaca.rows):
        yield _leaderboard(annotator, [row for row in alpaca.rows if row.annotator == annotator])
    for is_known in sorted({row.fitted_with_difficulty for row in alpaca.rows if row.fitted is not None}):
        from rich.text import Text

        yield Text(f"{_FITTED[is_known]} --lc-weights computes AlpacaEval's own rate, from its published weights.\n")
    if any(row.length_controlled is not None for row in alpaca.rows):
        yield Text(_PUBLISHED)
    if alpaca.differences:
        yield differences_table("Differences in win rate, as shares", alpaca.differences)


_PUBLISHED = (
    "Length-controlled rates have no interval: they are computed from published weights, whose uncertainty was not "
    "published with them. The SE and the interval are of the win rate.\n"
)
_FITTED = {
    False: "Fitted at equal length: by a model's preferences alone, without the difficulty of each instruction (or "
    "with answers so alike in length that it cannot be told from length). It is no number of the leaderboard: on "
    "published models it is 6.7 points above AlpacaEval's length-controlled rate on average, 25.6 at most.",
    True: "Fitted at equal length, with the difficulty of each instruction: given, or fitted to all models at once. On "
    "17 published models it is off from AlpacaEval's length-controlled rate by 1.5 points on average with AlpacaEval's "
    "difficulties, and with those of two to 17 models 2.7 to 3.6 points below it: AlpacaEval shrinks difficulties, "
    "which leaves a part of what easy instructions do in the rate.",
}
"""By whether the difficulty was known."""


def _leaderboard(annotator: str, rows: "list[AlpacaEvalRow]") -> "Table":
    is_fitted = any(row.fitted is not None for row in rows)
    return table(
        f"AlpacaEval by {annotator or 'an unnamed annotator'}, in %",
        (
            "Model",
            "Win rate",
            "SE",
            "95% interval",
            "Fitted at equal length" if is_fitted else "Length-controlled",
            "N",
        ),
        (
            (
                row.generator,
                f"{row.leaderboard.win_rate:.2f}",
                "–" if row.leaderboard.standard_error is None else f"{row.leaderboard.standard_error:.2f}",
                "–" if row.win_rate is None else f"{100 * row.win_rate.low:.2f} to {100 * row.win_rate.high:.2f}",
                _length_controlled(row),
                str(row.leaderboard.n_total),
            )
            for row in rows
        ),
        whole=("Model", "95% interval"),
    )


def _length_controlled(row: "AlpacaEvalRow") -> str:
    if row.fitted is not None:
        return f"{100 * row.fitted.value:.2f} ({100 * row.fitted.low:.2f} to {100 * row.fitted.high:.2f})"
    return "–" if row.length_controlled is None else f"{row.length_controlled:.2f}"


def _benchmarks(benchmarks: "BenchmarkNumbers") -> "Iterator[RenderableType]":
    """Draw the table of all benchmarks, then the questions, tests and further metrics behind each."""
    from rich.text import Text

    if benchmarks.results:
        variants = list(dict.fromkeys(score.variant for result in benchmarks.results for score in result.scores))
        columns = ("Benchmark", *(variant.capitalize() for variant in variants), "Difference", "p (Holm)", "Questions")
        rows = [_benchmark_row(result, variants) for result in benchmarks.results]
        yield table("Benchmarks, in %, with 95% intervals", columns, rows, whole=columns[1:])
        yield Text("")
    for result in benchmarks.results:
        yield Text("\n".join(_about_benchmark(result)) + "\n")
        if result.others:
            yield scores_table(f"{result.title}: further metrics", result.others)
        for note in result.notes:
            yield Text(f"{result.name}: {note}", style="yellow")
    for note in benchmarks.notes:
        yield Text(note, style="yellow")


def _benchmark_row(result: "BenchmarkResult", variants: Sequence[str]) -> list[str]:
    by_variant = {score.variant: score for score in result.scores}
    change = result.change
    return [
        result.name,
        *(_percent_lines(by_variant.get(variant)) for variant in variants),
        "–" if change is None else _percent_lines(change.score, sign="+"),
        "–" if change is None else f"{change.p_holm:.2g}",
        f"{result.questions:,}\nof {result.of:,}" if result.questions < result.of else f"{result.questions:,}",
    ]


def _percent_lines(score: "Score | None", *, sign: str = "") -> str:
    if score is None:
        return "–"
    value, low, high = (format(100 * number, f"{sign}.1f") for number in (score.value, score.low, score.high))
    return f"{value}\n{low} to {high}"


def _about_benchmark(result: "BenchmarkResult") -> Iterator[str]:
    yield f"{result.title}: {result.label}"
    yield f"  {result.asked}"
    for score in result.scores:
        yield f"  {score.variant}: {percent(score)}; {score.method}"
    if result.change is not None:
        change = result.change
        yield (
            f"  {change.test.up} questions gained, {change.test.down} lost, {change.test.same} as before; exact "
            f"p = {change.test.p_value:.2g}, with Holm's correction {change.p_holm:.2g}; {change.score.method}"
        )
