"""Several runs on one HTML page that needs nothing beside itself."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from haloes.report import charts, facts
from haloes.report.charts import Chart
from haloes.report.compared import (
    ComparedRuns,
    differing_settings,
    extent,
    length_notes,
    measured,
    rate_notes,
    zero_notes,
)
from haloes.report.curves import Style, line
from haloes.report.numbers import Measure, Shown, common_decimals, measure_of, show
from haloes.report.rendering import render
from haloes.results import Score
from haloes.results_json import Fields
from haloes.store import write_text

_COLOURS = 8
_CURVES: tuple[tuple[str, str, str, str], ...] = (
    ("validation", "auc", "Held-out AUC by step", "AUC"),
    ("validation", "auc_length_controlled", "Held-out AUC at equal length by step", "AUC"),
    ("validation", "loss", "Held-out loss by step", "loss an example"),
    ("train", "nll_per_token", "Loss per token (NLL) in training by step", "nats a token"),
    ("train", "reward_margin", "Reward margin in training by step", "nats an answer"),
    ("train", "reward/desirable", "Reward of desirable answers by step", "nats an answer"),
    ("train", "reward/undesirable", "Reward of undesirable answers by step", "nats an answer"),
    ("validation", "sampled/win_rate", "Win rate of sampled answers against the start by step", "share"),
    ("validation", "sampled/liked", "Sampled answers that the rater likes by step", "share"),
    ("validation", "sampled/words", "Words of sampled answers by step", "words"),
    ("validation", "sampled/repetition", "Repetition in sampled answers by step", "share"),
    ("validation", "sampled/finished", "Sampled answers that end by themselves by step", "share"),
    ("validation", "sampled/kl", "KL of sampled answers to the reference by step", "nats an answer"),
)
"""(split, metric, title, unit) of what is laid over each other."""
_WITH_INTERVAL = {"auc": "chance", "auc_length_controlled": "chance", "sampled/win_rate": "even"}
"""Metrics that are logged with the ends of their interval, and what one half is called."""
_LOSS = "loss"


def write_comparison(path: Path, compared: ComparedRuns) -> None:
    """Write the page. Raises DataError where it cannot be written."""
    write_text(path, compare_page(compared))


def compare_page(compared: ComparedRuns) -> str:
    """Render the page as HTML. Everything that comes from the runs is escaped by the template."""
    return render(
        "compare.html.j2",
        compared=compared,
        tones=[_tone(i) for i in range(len(compared.names))],
        settings=(*extent(compared.runs), *differing_settings(compared.runs)),
        zero_notes=zero_notes,
        aucs=_block(compared.aucs),
        shared_aucs=None if compared.same_rows else _block(compared.shared_aucs),
        beside_auc=[block for scores in compared.beside_auc if (block := _block(scores)) is not None],
        auc_differences=[(found, show(found.score)) for found in compared.auc_differences],
        at_equal_length=[(found, show(found.score)) for found in compared.auc_differences_at_equal_length],
        length_notes=length_notes(compared),
        measures=[block for scores in measured(compared.runs) if (block := _block(scores)) is not None],
        win_rates=[
            (found, show(found.win_rate), show(found.length_controlled.score) if found.length_controlled else None)
            for found in compared.win_rates
            if found.win_rate is not None
        ],
        rate_notes=rate_notes(compared),
        win_rate_differences=[(found, show(found.score)) for found in compared.win_rate_differences],
        charts=[(chart, charts.curves(chart)) for chart in overlaid(compared)],
        facts=facts,
    )  # fmt: skip


def overlaid(compared: ComparedRuns) -> tuple[Chart, ...]:
    """Lay the curves of all runs over each other; held-out losses only where all runs have the same loss."""
    same_loss = len({str(run.config.get("loss")) for run in compared.runs}) == 1
    overlays = []
    for split, key, title, unit in _CURVES:
        # Losses of two kinds have no common scale: the lower curve would not be the better run.
        if key == _LOSS and not same_loss:
            continue
        rows = [run.train if split == "train" else run.validation for run in compared.runs]
        chart = _overlaid(compared.names, rows, key, title, unit, style="noisy" if split == "train" else "dots")
        overlays += [] if chart is None else [chart]
    return tuple(overlays)


def _overlaid(
    names: Sequence[str], rows: Sequence[Sequence[Fields]], key: str, title: str, unit: str, *, style: Style
) -> Chart | None:
    ends = (f"{key}/low", f"{key}/high")
    lines = [
        line(steps, key, name, _tone(i), ends=ends, style=style)
        or (None if key in _WITH_INTERVAL else line(steps, key, name, _tone(i), style=style))
        for i, (name, steps) in enumerate(zip(names, rows, strict=True))
    ]
    drawn = tuple(series for series in lines if series is not None)
    guides = ((0.5, _WITH_INTERVAL[key]),) if key in _WITH_INTERVAL else ()
    return Chart(title=title, unit=unit, lines=drawn, guides=guides) if drawn else None


def _tone(i: int) -> str:
    return f"run r{i % _COLOURS + 1}"


def _block(scores: Sequence[Score | None]) -> tuple[Measure, list[Shown | None], Markup] | None:
    """Return a measure, how each run's score is written, and a chart of all of them on one scale."""
    measured = [score for score in scores if score is not None]
    if not measured:
        return None
    measure, decimals = measure_of(measured[0]), common_decimals(measured)
    scale = measure.scale
    rows = [
        (_tone(i), score.value * scale, score.low * scale, score.high * scale)
        for i, score in enumerate(scores)
        if score is not None
    ]
    shown = [None if score is None else show(score, decimals=decimals) for score in scores]
    guide = None if measure.chance is None else measure.chance * scale
    return measure, shown, charts.intervals(rows, guide=guide, scaled=True)
