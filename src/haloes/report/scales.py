"""The arithmetic under the charts: axes with round ticks, smoothing, and thinning of long series."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_POINTS = 400
_LEAST_TO_SMOOTH = 16


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values along one side of a plot."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """Return round values inside the range, about `most` of them."""
        # The smallest round step that needs no more ticks than that; a little slack for steps that miss by rounding.
        raw = (self.high - self.low) / max(1, most)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def padded(bounds: Iterable[float], margin: float) -> Axis:
    """Make an axis that holds the values with a margin (a share of their range) at both ends; never of no width."""
    values = list(bounds)
    low, high = min(values, default=0.0), max(values, default=1.0)
    # A single value, or several equal ones, still needs an axis with a width.
    pad = (high - low) * margin or abs(high) * 0.5 or 0.5
    return Axis(low - pad, high + pad)


def tick_decimals(ticks: Sequence[float]) -> int:
    """Return just enough decimals that no tick is rounded."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) or 1.0
    return next((n for n in range(9) if all(abs(round(tick, n) - tick) < step / 1000 for tick in ticks)), 9)


def smooth(ys: Sequence[float], sigma: float) -> Floats:
    """Average neighbouring values with Gaussian weights, symmetric in time; at the ends over those there are."""
    reach = max(1, math.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    value = np.asarray(ys, dtype=np.float64)
    # Near the ends a part of the kernel hangs over: dividing by what is left keeps the level.
    weight = np.convolve(np.ones(len(value)), kernel)[reach:-reach]
    return np.asarray(np.convolve(value, kernel)[reach:-reach] / weight, dtype=np.float64)


def smoothing(num_values: int) -> float:
    """Return the width (standard deviation, in values) to smooth a series with; 0 for one too short to need it."""
    return 0.0 if num_values < _LEAST_TO_SMOOTH else max(1.5, num_values / 40)


def bins(num: int) -> NDArray[np.intp]:
    """Return where each of at most _MOST_POINTS bins of neighbouring values starts."""
    return np.unique(np.linspace(0, num, min(num, _MOST_POINTS), endpoint=False).astype(np.intp))


def means(xs: Sequence[float], ys: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Thin a long series to the mean of each bin."""
    starts = bins(len(xs))
    size = np.diff(np.append(starts, len(xs)))
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    return np.add.reduceat(x, starts) / size, np.add.reduceat(y, starts) / size


def extremes(xs: Sequence[float], ys: Sequence[float]) -> tuple[Floats, Floats]:
    """Thin a long series to the lowest and highest value of each bin, so that thinning hides no spike."""
    if len(xs) <= _MOST_POINTS:
        return np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    starts = bins(len(xs))
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    return (
        np.repeat(x[starts], 2),
        np.stack([np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)], axis=1).ravel(),
    )


def round_widths() -> list[float]:
    """List widths of bars that a reader can add up: 1, 2, 5, 10, 20 ..."""
    return [factor * 10.0**power for power in range(7) for factor in (1, 2, 5)]
