"""How sure a reward model was of held-out pairs, and how often it was right: one figure."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from haloes.report import charts
from haloes.results import Fields, is_finite

_FIELDS = ("predicted", "desirable", "low", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot and what is to be read from it."""

    plot: Markup
    caption: str


def reliability(calibration: Fields) -> Figure | None:
    """The figure of a run's `calibration.json`; None where there is none, or nothing in it that can be drawn."""
    found = calibration.get("bins")
    bins = [row for row in found if _can_be_drawn(row)] if isinstance(found, list) else []
    if not bins:
        return None
    points = [tuple(float(row[name]) for name in _FIELDS) for row in bins]
    caption = (
        "Each dot holds about equally many pairs: to the right the probability that the model gives the answer it "
        "prefers, upwards how often people chose that one. Below the dashed line it is too sure. Whiskers: 95% "
        "interval."
    )
    error, chance = calibration.get("expected_error"), calibration.get("expected_error_by_chance")
    if is_finite(error) and is_finite(chance):
        caption += (
            f" On average they are {error * 100:.1f} points apart; a calibrated model would stay below "
            f"{chance * 100:.1f} in 95% of cases."
        )
    return Figure(plot=_plot(points), caption=caption)


def _plot(points: Sequence[tuple[float, ...]]) -> Markup:
    return charts.against(
        [(x, y, low, high) for x, y, low, high in points],
        describe="; ".join(f"said {x:.0%}, right {y:.0%}" for x, y, _, _ in points),
    )


def _can_be_drawn(row: object) -> bool:
    return isinstance(row, dict) and all(is_finite(row.get(name)) and 0 <= row[name] <= 1 for name in _FIELDS)
