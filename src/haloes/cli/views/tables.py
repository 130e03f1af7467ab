"""Tables of numbers on the terminal; all text in them is taken as plain text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from haloes.records import Score
    from haloes.results import PairedDifference


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()) -> "Table":
    """A plain table; the columns in `whole` are not broken into lines."""
    from rich.markup import escape
    from rich.table import Table

    found = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        found.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        found.add_row(*map(escape, row))
    return found


def scores_table(title: str, scores: "Iterable[Score]") -> "Table":
    """What was measured, of which model, with its interval."""
    columns = ("Measure", "Of", "Value", "95% interval", "Prompts")
    return table(
        title,
        columns,
        ((s.label or s.name, s.variant, f"{s.value:.4g}", _interval(s), str(s.num_clusters)) for s in scores),
        whole=columns[2:],
    )


def differences_table(title: str, differences: "Iterable[PairedDifference]") -> "Table":
    """Pairs of models or runs with their difference, its interval and its p-values."""
    rows = (
        (
            f"{found.model} – {found.other}",
            f"{found.score.value:+.3f}",
            f"{found.score.low:+.3f} to {found.score.high:+.3f}",
            f"{found.p_value:.2g}",
            f"{found.p_holm:.2g}",
            str(found.score.num_rows),
            str(found.score.num_clusters),
        )
        for found in differences
    )
    columns = ("Compared", "Difference", "95% interval", "p", "p (Holm)", "Rows", "Prompts")
    return table(title, columns, rows, whole=columns[1:])


def percent(score: "Score | None") -> str:
    """A share with its interval, in percent."""
    if score is None:
        return "not known (fewer than two scored prompts)"
    return f"{score.value:.1%} ({score.level:.0%} interval {score.low:.1%} to {score.high:.1%})"


def _interval(score: "Score") -> str:
    return f"{score.low:.4g} to {score.high:.4g}" if score.high > score.low else "–"
