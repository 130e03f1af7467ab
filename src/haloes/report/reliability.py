"""One figure: how sure a reward model was of held-out pairs, and how often it was right."""

from dataclasses import dataclass

from markupsafe import Markup

from haloes.report import charts
from haloes.results import Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot and what is to be read from it."""

    plot: Markup
    caption: str


def reliability(calibration: Reliability | None) -> Figure | None:
    """Draw the calibration of a reward model; None where there is none, or nothing in it that can be drawn."""
    if calibration is None:
        return None
    points = [(b.predicted, b.desirable, b.low, b.high) for b in calibration.bins]
    points = [point for point in points if all(0 <= share <= 1 for share in point)]
    if not points:
        return None
    error, by_chance = 100 * calibration.expected_error, 100 * calibration.expected_error_by_chance
    return Figure(
        plot=charts.against(points, describe="; ".join(f"said {x:.0%}, right {y:.0%}" for x, y, *_ in points)),
        caption=(
            "Each dot holds about equally many pairs: to the right the probability that the model gives the answer it "
            "prefers, upwards how often people chose that one. Below the dashed line it is too sure. Whiskers: 95% "
            f"interval. On average they are {error:.1f} points apart; a calibrated model would stay below "
            f"{by_chance:.1f} in 95% of cases."
        ),
    )
