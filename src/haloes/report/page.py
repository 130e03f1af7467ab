"""A run's records as one HTML page that needs nothing beside itself: no network, no script, no image file."""

import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from haloes.evaluation_results import Matchup
from haloes.report import charts, facts
from haloes.report.benchmarks import sides, sides_chart, subtask_sides
from haloes.report.charts import Block
from haloes.report.curves import training_charts
from haloes.report.examples import RULE, draw_examples
from haloes.report.headline import Headline, Result, headline, results
from haloes.report.judged import position_note, rates, trust
from haloes.report.load import RunRecords, Warned, load_run
from haloes.report.numbers import count, percent, show
from haloes.report.reliability import reliability
from haloes.report.rendering import render
from haloes.report.samples import SidesOfPrompt, sides_of_prompts
from haloes.report.scales import smoothing
from haloes.report.taste import taste_section
from haloes.run_files import REPORT
from haloes.store import write_text

_FIRST_ANSWERS = 5
_MOST_ANSWERS = 200


def write_report(run_dir: Path) -> Path:
    """
    Write `report.html` into a run folder, from whatever that folder holds, and return its path.

    Raises:
        RunError: the folder does not exist.
        DataError: the page cannot be written.
    """
    path = run_dir / REPORT
    write_text(path, page(load_run(run_dir)))
    return path


def page(run: RunRecords) -> str:
    """Render the report as HTML. Everything that comes from the run is escaped by the template."""
    measured = results(run)
    verdict = headline(run)
    shown_charts = training_charts(run)
    answers = sides_of_prompts(run)
    return render(
        "report.html.j2",
        from_outside={"sides": (), "examples": ()},
        run=run,
        name=run.run_dir.resolve().name,
        headline=verdict,
        headline_chart=_headline_chart(verdict),
        examples=draw_examples(answers),
        rule=RULE,
        levels=" or ".join(sorted({percent(score.level) for score in run.scores})) or "95%",
        results=[(result, _result_chart(result)) for result in measured],
        charts=[(chart, charts.curves(chart)) for chart in shown_charts],
        smoothing=_smoothing_note(run),
        lengths=_lengths(answers),
        reliability=reliability(run.calibration),
        sides=answers[:_MOST_ANSWERS],
        num_sides=len(answers),
        first_answers=_FIRST_ANSWERS,
        changes={kind: sum(side.change == kind for side in answers) for kind in ("gained", "lost", "same")},
        judged={kind: sum(side.judged == kind for side in answers) for kind in ("won", "tied", "beaten", "unscored")},
        position_note=position_note,
        matchups=[(matchup, charts.verdict_bar(matchup), *_blocks(matchup)) for matchup in run.judged.matchups],
        benchmarks=[
            (benchmark, sides(benchmark), sides_chart(sides(benchmark))) for benchmark in run.benchmarks.results
        ],
        subtask_sides=subtask_sides,
        write=show,
        agreement=[(score, show(score)) for score in run.judged.agreement],
        refusals=[(score, show(score)) for score in run.judged.refusals],
        taste=taste_section(run.taste, run.logged_answers),
        alarms=[warning for warning in run.warnings if is_alarm(warning)],
        other_warnings=[warning for warning in run.warnings if not is_alarm(warning)],
        facts=facts,
        balance=lambda half: charts.balance([("desirable", half.desirable), ("undesirable", half.undesirable)]),
    )  # fmt: skip


def _headline_chart(verdict: Headline) -> Markup | None:
    result = verdict.result
    if result is None or result.after is None:
        return None
    # The difference is what the verdict rests on; without one, the number beside chance.
    if result.difference is not None:
        score, scale = result.difference, result.measure.scale
        row = ("after", score.value * scale, score.low * scale, score.high * scale)
        return charts.intervals([row], guide=0.0, scaled=True)
    score = result.after
    scale, chance = result.measure.scale, result.measure.chance
    row = ("after", score.value * scale, score.low * scale, score.high * scale)
    return charts.intervals([row], guide=None if chance is None else chance * scale, scaled=True)


def _result_chart(result: Result) -> Markup | None:
    sides = [("before", result.before), ("after", result.after)]
    rows = [(tone, score.value, score.low, score.high) for tone, score in sides if score is not None]
    return charts.intervals(rows, guide=result.measure.chance) if rows else None


def is_alarm(warning: Warned) -> bool:
    """Return whether a warning was given while the run trained: those begin with their step."""
    return re.match(r"step \d+: ", warning.message) is not None


def _blocks(matchup: Matchup) -> tuple[Block, Block, Block]:
    return charts.block(rates(matchup)), charts.block(matchup.by_length), charts.block(trust(matchup))


def _smoothing_note(run: RunRecords) -> str:
    steps = [row["step"] for row in run.train]
    sigma = smoothing(len(steps))
    if not sigma:
        return ""
    width = count(max(1, sigma * (steps[-1] - steps[0]) / (len(steps) - 1)))
    return f"Faint lines are single steps; strong lines are smoothed over them (Gaussian, σ = {width} steps)."


def _lengths(sides: Sequence[SidesOfPrompt]) -> Markup | None:
    before = [side.before.num_words for side in sides if side.before is not None]
    after = [side.after.num_words for side in sides if side.after is not None]
    if not before and not after:
        return None
    return charts.histogram([("before", "before", before), ("after", "after", after)], unit="words an answer")
