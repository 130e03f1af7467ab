"""Verdicts as pictures: a bar of wins, ties and losses, and rates with their intervals on one scale."""

from collections.abc import Sequence
from typing import TypeAlias

from markupsafe import Markup

from haloes.records import Score
from haloes.report import charts
from haloes.report.judged import Matchup
from haloes.report.numbers import Shown, common_decimals, measure_of, show

Block: TypeAlias = list[tuple[str, Shown, int, Markup]]
"""Rows of (name, number, scored prompts, chart on a scale from 0 to 100 %)."""


def verdict_bar(matchup: Matchup) -> Markup:
    """Wins, ties, losses and what could not be scored, in proportion."""
    parts = [("win", matchup.wins), ("tie", matchup.ties), ("loss", matchup.losses), ("unscored", matchup.unscored)]
    return charts.balance([(tone, float(amount)) for tone, amount in parts])


def block(scores: Sequence[Score]) -> Block:
    """Shares with their intervals, each on the same scale with one half marked."""
    decimals = common_decimals(scores) if scores else 0
    return [
        (score.label or measure_of(score).title, show(score, decimals=decimals), score.num_clusters, _strip(score))
        for score in scores
    ]


def _strip(score: Score) -> Markup:
    return charts.intervals(
        [("after", 100 * score.value, 100 * score.low, 100 * score.high)], guide=50.0, within=(0.0, 100.0)
    )
