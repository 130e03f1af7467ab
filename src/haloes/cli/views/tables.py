"""Tables of numbers on the terminal; all text in them is taken as plain text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from haloes.results import PairedDifference, Score


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()) -> "Table":
    """Return a plain table; the columns in `whole` are not broken into lines."""
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        drawn.add_row(*map(escape, row))
    return drawn


def scores_table(title: str, scores: "Iterable[Score]") -> "Table":
    """Return a table of scores: measure, model, value, interval and number of prompts."""
    shown = list(scores)
    drawn = table(
        title,
        ("Measure", "Of", "Value", "95% interval", "Prompts"),
        ((s.label or s.name, s.variant, f"{s.value:.4g}", _interval(s), str(s.num_clusters)) for s in shown),
        whole=("Value", "Prompts"),
    )
    # Two numbers stay in one line; a reason why there is no interval may take several.
    drawn.columns[3].min_width = max((len(_interval(s)) for s in shown if s.high > s.low), default=0)
    return drawn


def differences_table(title: str, differences: "Sequence[PairedDifference]") -> "Table":
    """Return a table of pairs of models or runs with their difference, its interval and its p-values."""
    from rich.markup import escape

    from haloes.report.compared import zero_notes

    rows = (
        (
            f"{difference.model} – {difference.other}",
            f"{difference.score.value:+.3f}",
            f"{difference.score.low:+.3f} to {difference.score.high:+.3f}",
            f"{difference.p_value:.2g}",
            f"{difference.p_holm:.2g}",
            str(difference.score.num_rows),
            str(difference.score.num_clusters),
        )
        for difference in differences
    )
    columns = ("Compared", "Difference", "95% interval", "p", "p (Holm)", "Rows", "Prompts")
    drawn = table(title, columns, rows, whole=columns[1:])
    if notes := zero_notes(differences):
        drawn.caption, drawn.caption_justify = escape("\n".join(f"{note}." for note in notes)), "left"
    return drawn


def percent(score: "Score | None") -> str:
    """Return a share with its interval, in percent."""
    if score is None:
        return "not known (fewer than two scored prompts)"
    return f"{score.value:.1%} ({score.level:.0%} interval {score.low:.1%} to {score.high:.1%})"


def _interval(score: "Score") -> str:
    from haloes.report.numbers import without_interval

    return f"{score.low:.4g} to {score.high:.4g}" if score.high > score.low else without_interval(score)
