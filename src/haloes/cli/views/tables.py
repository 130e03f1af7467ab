"""Tables of numbers on the terminal; all text in them is taken as plain text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from haloes.records import Score
    from haloes.report.compared import PairDifference
    from haloes.stats.paired import Difference


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


def differences_table(title: str, differences: "Iterable[Difference]") -> "Table":
    """Pairs of models with their difference, its interval and its p-values."""
    return _differences(title, ((d.model, d.other, d.score, d.p_value, d.p_holm) for d in differences))


def pairs_table(title: str, differences: "Iterable[PairDifference]") -> "Table":
    """The same of runs."""
    return _differences(title, ((d.one, d.other, d.score, d.p_value, d.p_holm) for d in differences))


def percent(score: "Score | None") -> str:
    """A share with its interval, in percent."""
    if score is None:
        return "not known (fewer than two scored prompts)"
    return f"{score.value:.1%} ({score.level:.0%} interval {score.low:.1%} to {score.high:.1%})"


def _interval(score: "Score") -> str:
    return f"{score.low:.4g} to {score.high:.4g}" if score.high > score.low else "–"


def _differences(title: str, found: "Iterable[tuple[str, str, Score, float, float]]") -> "Table":
    rows = (
        (
            f"{one} – {other}",
            f"{score.value:+.3f}",
            f"{score.low:+.3f} to {score.high:+.3f}",
            f"{p_value:.2g}",
            f"{p_holm:.2g}",
            str(score.num_rows),
            str(score.num_clusters),
        )
        for one, other, score, p_value, p_holm in found
    )
    columns = ("Compared", "Difference", "95% interval", "p", "p (Holm)", "Rows", "Prompts")
    return table(title, columns, rows, whole=columns[1:])
