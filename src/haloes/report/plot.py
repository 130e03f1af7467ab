"""Functions drawn over each other: in a terminal as dots of Braille, and as an SVG that stands alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from haloes.report.scales import Axis, Floats, padded, tick_decimals

if TYPE_CHECKING:
    from rich.text import Text

MOST_COLOURS = 6
"""Number of functions that can be told apart."""
_CUT = 8.0
"""A picture is at most this many times as high as the range of its flattest function; others leave it."""
_STYLES = ("blue", "bright_red", "green", "magenta", "yellow", "cyan")
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a Braille character, by row and column."""
_DASH = 6
_MARGIN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A function of one number."""

    label: str
    colour: int
    """Number of its colour, from 0; below `MOST_COLOURS`."""
    dashed: bool
    xs: Floats
    ys: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Functions that share a picture."""

    title: str
    x_label: str
    traces: tuple[Trace, ...]
    dashed: str
    """Meaning of a dashed function."""

    @property
    def x_axis(self) -> Axis:
        """Return an axis as wide as the functions."""
        return Axis(min(float(t.xs.min()) for t in self.traces), max(float(t.xs.max()) for t in self.traces))

    @property
    def y_axis(self) -> Axis:
        """Return an axis high enough for the flattest functions, with 0 in it; what goes far beyond them is cut off."""
        finite = [t.ys[np.isfinite(t.ys)] for t in self.traces]
        ranges = [(float(ys.min(initial=0.0)), float(ys.max(initial=0.0))) for ys in finite]
        heights = [high - low for low, high in ranges if high > low]
        # The flattest function decides: one that grows without bound would press the others onto a line.
        most = _CUT * min(heights, default=1.0)
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        if low == high:
            return Axis(-1.0, 1.0)
        return padded([max(-most, low), min(most, high)], 0.05)


def terminal(panel: Panel, *, width: int, height: int = 12) -> "list[Text]":
    """
    Draw the panel as lines of text: its title, a picture of `height` lines, its range and the functions' names.

    Each function has a colour; functions that are dashed are drawn with gaps.
    """
    from rich.text import Text

    columns = max(20, width - _MARGIN - 1)
    bits, colours = _dots(panel, columns, height)
    axis = panel.y_axis
    marks = _row_marks(axis, height)
    lines = [Text(panel.title, style="bold")]
    for row in range(height):
        line = Text(f"{marks.get(row, ''):>{_MARGIN - 2}} ", style="dim")
        line.append("┤" if row in marks else "│", style="dim")
        for column in range(columns):
            colour = int(colours[row, column])
            line.append(chr(0x2800 + int(bits[row, column])), style="dim" if colour < 0 else _STYLES[colour])
        lines.append(line)
    return [*lines, _x_line(panel, columns), _names(panel)]


def _x_line(panel: Panel, columns: int) -> "Text":
    from rich.text import Text

    left, right = (f"{value:g}" for value in (panel.x_axis.low, panel.x_axis.high))
    middle = panel.x_label.center(columns - len(left) - len(right))
    return Text(f"{'':{_MARGIN}}{left}{middle}{right}", style="dim")


def _names(panel: Panel) -> "Text":
    from rich.text import Text

    line = Text(" " * _MARGIN)
    for trace in panel.traces:
        if not trace.dashed:
            line.append(f"── {trace.label}   ", style=_STYLES[trace.colour])
    if any(trace.dashed for trace in panel.traces):
        line.append(f"╌╌ {panel.dashed}", style="dim")
    return line


def _row_marks(axis: Axis, height: int) -> dict[int, str]:
    """Place round values beside the rows that they fall into."""
    values = axis.ticks(max(2, height // 3))
    decimals = tick_decimals(values)
    texts = [f"{value:.{decimals}f}" for value in values]
    if max(map(len, texts)) > _MARGIN - 2:
        # Numbers too wide for the margin are written in powers of ten.
        texts = [f"{value:.0e}" for value in values]
    return {
        min(height - 1, int((1 - axis.share(value)) * height)): text for value, text in zip(values, texts, strict=True)
    }


def _dots(panel: Panel, columns: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Set the Braille bits of every character, and the colour of what was drawn last in it (-1: the line at 0)."""
    bits = np.zeros((height, columns), dtype=np.int64)
    colours = np.full((height, columns), -1, dtype=np.int64)
    x_axis, y_axis = panel.x_axis, panel.y_axis
    zero = (1 - y_axis.share(0.0)) * (4 * height - 1)
    for x in range(0, 2 * columns, 2):
        _set(bits, x, round(zero))
    across = np.linspace(x_axis.low, x_axis.high, 2 * columns)
    for trace in panel.traces:
        level = (1 - (np.interp(across, trace.xs, trace.ys) - y_axis.low) / (y_axis.high - y_axis.low)) * (
            4 * height - 1
        )
        for x in range(2 * columns):
            if trace.dashed and x % _DASH >= _DASH // 2:
                continue
            # From half way to the point before, so that a steep function is drawn without gaps.
            ends = ((level[max(0, x - 1)] + level[x]) / 2, level[x])
            if not np.isfinite(ends).all():
                continue
            first, last = sorted(round(float(np.clip(end, -1, 4 * height))) for end in ends)
            for y in range(first, last + 1):
                if 0 <= y < 4 * height:
                    _set(bits, x, y)
                    colours[y // 4, x // 2] = trace.colour
    return bits, colours


def _set(bits: np.ndarray, x: int, y: int) -> None:
    bits[y // 4, x // 2] |= _DOTS[y % 4][x % 2]
