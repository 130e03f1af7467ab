"""Verdicts as pictures: a bar of wins, ties and losses, and rates with their intervals on one scale."""

from collections.abc import Sequence
from typing import TypeAlias

from markupsafe import Markup

from haloes.records import Score
from haloes.report import charts
from haloes.report.judged import Matchup
from haloes.report.numbers import Shown, common_decimals, measure_of, show

Block: TypeAlias = tuple[list[tuple[str, Shown, int]], Markup]
"""Rows of (name, number, scored prompts), and their chart."""


def verdict_bar(matchup: Matchup) -> Markup:
    """Wins, ties, losses and what could not be scored, in proportion."""
    parts = [("win", matchup.wins), ("tie", matchup.ties), ("loss", matchup.losses), ("unscored", matchup.unscored)]
    return charts.balance([(tone, float(amount)) for tone, amount in parts])


def block(scores: Sequence[Score]) -> Block | None:
    """Shares with their intervals on one scale, one half marked; None where there are none."""
    if not scores:
        return None
    decimals = common_decimals(scores)
    rows = [
        (score.label or measure_of(score).title, show(score, decimals=decimals), score.num_clusters) for score in scores
    ]
    bars = [("after", 100 * score.value, 100 * score.low, 100 * score.high) for score in scores]
    return rows, charts.intervals(bars, guide=50.0, scaled=True)
