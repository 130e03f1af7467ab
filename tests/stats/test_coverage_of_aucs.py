"""
The short form of `benchmarks/coverage.py`: 95 % intervals of AUCs hold the truth about as often as they say.

Seeds are fixed; 200 studies are good to three points, so the bounds are generous. Resampling prompts, which stood here
before, covers 73 % with three good answers.
"""

import pytest

pytest.importorskip("benchmarks.coverage", reason="the benchmarks are not part of an installed package")

from benchmarks.coverage import Row, covered
from benchmarks.coverage_auc import alone, differences

_ALONE = (
    "3+100 rows, AUC 0.9",
    "5+45 rows, AUC 0.7",
    "25+25 rows, AUC 0.5",
    "10 prompts of 4, AUC 0.7",
    "40 prompts of a pair, much in common, AUC 0.7",
    "20 prompts, one with half of the rows, AUC 0.9",
)
_OF_TWO = (
    "40 prompts of 4, 0.7 and 0.7, correlation 0.7",
    "100 rows, 0.9 and 0.8, correlation 0.0",
    "10 prompts of 4, 0.5 and 0.7, correlation 0.7",
)


def named(name: str) -> Row:
    return next(row for row in (*alone(), *differences()) if row.name == name)


@pytest.mark.parametrize("name", [*_ALONE, *_OF_TWO])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(name: str):
    found = covered(named(name), studies=200)

    assert 0.91 <= found.share <= 0.995
    assert found.none == 0


def test_it_widens_where_a_class_has_few_rows():
    few, many = (covered(named(name), studies=50).width for name in ("3+100 rows, AUC 0.9", "10+100 rows, AUC 0.9"))

    assert few > 1.5 * many
