"""One figure: how sure a reward model was of held-out pairs, and how often it was right."""

from dataclasses import dataclass

from markupsafe import Markup

from haloes.report import charts
from haloes.results import Reliability, ReliabilityBin


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot and what is to be read from it."""

    plot: Markup
    caption: str


def reliability(found: Reliability | None) -> Figure | None:
    """Draw the calibration of a reward model; None where there is none, or nothing in it that can be drawn."""
    bins = [] if found is None else [one for one in found.bins if all(0 <= number <= 1 for number in _point(one))]
    if found is None or not bins:
        return None
    return Figure(
        plot=charts.against(
            [_point(one) for one in bins],
            describe="; ".join(f"said {one.predicted:.0%}, right {one.desirable:.0%}" for one in bins),
        ),
        caption=(
            "Each dot holds about equally many pairs: to the right the probability that the model gives the answer it "
            "prefers, upwards how often people chose that one. Below the dashed line it is too sure. Whiskers: 95% "
            f"interval. On average they are {found.expected_error * 100:.1f} points apart; a calibrated model would "
            f"stay below {found.expected_error_by_chance * 100:.1f} in 95% of cases."
        ),
    )


def _point(one: ReliabilityBin) -> tuple[float, float, float, float]:
    return one.predicted, one.desirable, one.low, one.high
