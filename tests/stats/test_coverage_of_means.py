"""
The short form of `benchmarks/coverage.py` for all but AUCs: 95 % intervals hold the truth so often.

Seeds are fixed; 300 studies are good to two and a half points, so the bounds are generous. What stood here before
covered 78 % of lognormal means with 10 prompts, and 81 % of soft preferences about 0.05.
"""

from functools import cache

import pytest

pytest.importorskip("benchmarks.coverage", reason="the benchmarks are not part of an installed package")

from benchmarks.coverage import Row, covered, tables


@cache
def rows(table: str) -> dict[str, Row]:
    return {row.name: row for row in tables()[table]()}


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("means", "normal, 10 prompts"),
        ("means", "lognormal, 10 prompts"),
        ("means", "lognormal, 50 prompts"),
        ("means", "left-skewed, 20 prompts"),
        ("means", "lognormal, 24 prompts of 4, 0.4 alike"),
        ("means", "lognormal, 12 prompts of 1 to 30, 0.4 alike"),
        ("means", "lognormal, 20 prompts, one with half of the rows, 0.9 alike"),
        ("mean-differences", "lognormal, 20 prompts"),
        ("mean-differences", "normal, 12 prompts of 1 to 30"),
        ("preferences", "10 prompts, Beta(0.05, sum 2)"),
        ("preferences", "20 prompts, Beta(0.05, sum 2)"),
        ("preferences", "50 prompts, Beta(0.95, sum 2)"),
        ("preferences", "20 prompts, lost, tied, won (0.1, 0.8, 0.1)"),
        ("shares", "0.5, 24 prompts of 4"),
        ("shares", "0.5, 20 prompts, one with half of the rows"),
        ("shares", "0.5, difference, 20 prompts"),
        ("shares", "0.5, difference, 12 prompts of 1 to 30"),
        ("others", "win rate (0.3, 0.2, 0.5), 20 prompts of 4"),
        ("others", "rank correlation 0.68, 10 prompts"),
        ("others", "slope of the calibration, 20 prompts of 4"),
        ("others", "3 subtasks of 40, 0.9, 0.6 and 0.1"),
    ],
)
def test_the_interval_holds_the_truth_about_as_often_as_it_says(table: str, name: str):
    found = covered(rows(table)[name], studies=300)

    assert 0.90 <= found.share <= 0.995
    assert found.none == 0
