"""
How often the intervals that haloes prints hold the truth: simulated studies whose truth is known.

    python -m benchmarks.coverage                 all tables, minutes
    python -m benchmarks.coverage --only auc      one of them
    python -m benchmarks.coverage --quick         few studies: seconds, and good to about three points

A nominal 95 % interval should hold the truth in 93 to 98 % of studies. A table is a function in a file of its own that
lists `Row`s: a name, the truth, what draws the data of a study, and the interval of them. To add one, write such a file
and name it in `TABLES`. `tests/stats/test_coverage.py` runs some of the rows.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from haloes.results import Score

AIM = (0.93, 0.98)
_STUDIES = 1000
_QUICK = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting in which an interval is tried."""

    name: str
    truth: float
    """The value that the interval is of."""
    draw: Callable[[np.random.Generator], Any]
    """Draws the data of one study."""
    interval: Callable[[Any], Score | None]
    """Makes the interval of a study's data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """Result of the simulated studies of one row of a coverage table."""

    share: float
    """Share of studies whose interval holds the truth."""
    below: float
    """Share whose interval lies above the truth: of 5 % misses it should be about half."""
    width: float
    """Mean width of the intervals."""
    none: int
    """Studies without an interval, which count for nothing else."""


def covered(row: Row, *, studies: int, seed: int = 0) -> Covered:
    """Run the studies of a row; the same seed draws the same."""
    rng = np.random.default_rng(seed)
    scores = [row.interval(row.draw(rng)) for _ in range(studies)]
    found = [score for score in scores if score is not None and not score.no_interval]
    return Covered(
        share=float(np.mean([score.low <= row.truth <= score.high for score in found])),
        below=float(np.mean([score.low > row.truth for score in found])),
        width=float(np.mean([score.high - score.low for score in found])),
        none=len(scores) - len(found),
    )


def interval(value: float, low: float, high: float) -> Score:
    """Make a score of an interval that stands in another record."""
    return Score(name="", value=value, low=low, high=high, variant="", num_rows=0, num_clusters=0, method="")


def turned(score: Score) -> Score:
    """Return the score of the other side's difference."""
    return interval(-score.value, -score.high, -score.low)


def tables() -> dict[str, Callable[[], Iterable[Row]]]:
    """Return the tables by name."""
    from benchmarks import (
        coverage_agreement,
        coverage_auc,
        coverage_fits,
        coverage_judged,
        coverage_means,
        coverage_others,
    )

    return {
        "auc": coverage_auc.alone,
        "auc-differences": coverage_auc.differences,
        "means": coverage_means.means,
        "mean-differences": coverage_means.mean_differences,
        "preferences": coverage_means.preferences,
        "shares": coverage_means.shares,
        "others": coverage_others.others,
        "judged": coverage_judged.judged,
        "agreement": coverage_agreement.agreement,
        "fits": coverage_fits.fits,
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How often 95 % intervals hold the truth.")
    known = tables()
    parser.add_argument("--only", choices=list(known), help="one table")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} studies a row in place of {_STUDIES}")
    parser.add_argument("--studies", type=int, help="studies a row")
    args = parser.parse_args()
    studies = args.studies or (_QUICK if args.quick else _STUDIES)
    # What the simulation itself is good to: two standard errors of a share of 95 %.
    slack = 2 * np.sqrt(0.95 * 0.05 / studies)
    print(
        f"{studies} studies a row, each share good to about {100 * slack:.1f} points; * lies outside 93 to 98 by more"
    )
    for name in [args.only] if args.only else known:
        print(f"\n{name:56}{'covered':>9}{'too high':>9}{'width':>8}")
        outside = 0
        rows = list(known[name]())
        for row in rows:
            found = covered(row, studies=studies)
            is_outside = not AIM[0] - slack <= found.share <= AIM[1] + slack
            outside += is_outside
            none = f"  ({found.none} without)" if found.none else ""
            numbers = f"{100 * found.share:9.1f}{100 * found.below:9.1f}{found.width:8.3f}"
            print(f"{row.name:56}{numbers}{' *' if is_outside else ''}{none}", flush=True)
        print(f"{len(rows) - outside} of {len(rows)} within")


if __name__ == "__main__":
    main()
