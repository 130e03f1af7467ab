"""
Small charts as inline SVG: curves over steps, intervals, histograms, a bar of two parts.

Positions are percentages of the plot, so a chart fills whatever width it is given while its text keeps its size; only
the lines live in an inner picture that is stretched. Colours and sizes are the style sheet's, by class.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from markupsafe import Markup, escape

from haloes.evaluation_results import Matchup
from haloes.report.numbers import Shown, brief, common_decimals, count, measure_of, plain, show
from haloes.report.scales import Axis, Floats, extremes, means, padded, round_widths, smooth, smoothing, tick_decimals
from haloes.results import Score

Block: TypeAlias = list[tuple[str, Shown, int, Markup]]
"""Rows of (name, number, scored prompts, chart on a scale from 0 to 100 %)."""

_SPAN = 1000.0
"""Width and height of the inner picture, in its own units."""
_MOST_HOVERS = 60
_MOST_MARKS = 400
_MOST_BARS = 24
_WILD = 0.01
"""Share of the raw values at either end that may lie outside a plot, so that one spike does not flatten the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series of a chart."""

    label: str
    tone: str
    """The style sheet's name of its colour: "train", "held", "desirable", "undesirable", "before" or "after"."""
    xs: Sequence[float]
    ys: Sequence[float]
    low: Sequence[float] = ()
    """Lower end of each value's interval, or nothing."""
    high: Sequence[float] = ()
    style: Literal["noisy", "exact", "dots"] = "noisy"
    """Noisy: faint, with a smoothed line on top. Exact: a plain line. Dots: few values, each with its whiskers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The content of a figure of curves."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    caption: str = ""
    guides: tuple[tuple[float, str], ...] = ()
    """Values that mean something, each drawn as a level line with its name."""
    rug: tuple[float, ...] = ()
    """Steps that are marked along the bottom."""
    small: bool = False


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Make an SVG element; children and attribute values are escaped unless they are markup. `class_` is class."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{pairs}>{''.join(escape(child) for child in children)}</{name}>")  # noqa: S704 - escaped here


def curves(chart: Chart) -> Markup:
    """Draw a chart: faint raw series with a smoothed line on top, dots with whiskers, axes, values on hover."""
    x_axis = _x_axis(chart)
    y_axis = _y_axis(chart)
    parts: list[Markup] = [*_grid(x_axis, y_axis, small=chart.small), *_guides(chart, y_axis), *_rug(chart, x_axis)]
    # Lines live in the stretched picture; dots and text stay outside of it, or they would be stretched as well.
    parts.append(_stretched(*(shape for line in chart.lines for shape in _line_shapes(line, x_axis, y_axis))))
    parts += [dot for line in chart.lines if line.style == "dots" for dot in _dots(line, x_axis, y_axis)]
    parts += _hovers(chart.lines, x_axis)
    size = "plot small" if chart.small else "plot"
    return element("svg", *parts, class_=size, role="img", aria_label=describe(chart))


def describe(chart: Chart) -> str:
    """Put a chart into words, for those who do not see it: where each series starts and ends."""
    ends = [
        f"{line.label} from {brief(_smooth_of(line)[0])} at step {count(line.xs[0])} "
        f"to {brief(_smooth_of(line)[-1])} at step {count(line.xs[-1])}"
        for line in chart.lines
        if len(line.xs)
    ]
    return f"{chart.title}: {'; '.join(ends)}."


def intervals(
    rows: Sequence[tuple[str, float, float, float]],
    *,
    guide: float | None = None,
    scaled: bool = False,
    within: tuple[float, float] | None = None,
) -> Markup:
    """
    Draw values with their intervals, one above the other on a shared scale.

    Args:
        rows: (tone, value, low, high) each.
        guide: a value that the scale includes and marks, such as zero for a difference.
        scaled: whether to write the scale below.
        within: the ends of the scale, so that several charts can be read against each other; None for those that fit.
    """
    bounds = [number for _, value, low, high in rows for number in (value, low, high)]
    # The guide belongs to the scale: an interval that does not reach zero must be seen not to.
    axis = padded([*bounds, *([] if guide is None else [guide])] if within is None else within, 0.08)
    parts = [] if guide is None else [_at("line", axis, guide, class_="guide", y1="0", y2="100%")]
    for position, (tone, value, low, high) in enumerate(rows):
        y = _pc((position + 0.5) / len(rows))
        ends = {"x1": _pc(axis.share(low)), "x2": _pc(axis.share(high)), "y1": y, "y2": y}
        parts.append(element("line", **ends, class_=f"whisker {tone}"))
        parts.append(element("circle", cx=_pc(axis.share(value)), cy=y, r=5, class_=f"dot {tone}"))
    if scaled:
        parts += _x_ticks(axis)
    size = f"intervals rows-{len(rows)}{' scaled' if scaled else ''}"
    return element("svg", *parts, class_=size, height=f"{1.05 * len(rows):g}rem", aria_hidden="true")


def histogram(series: Sequence[tuple[str, str, Sequence[float]]], *, unit: str) -> Markup:
    """
    Draw how often each range of values occurs, as a share of each series, with the means marked.

    Args:
        series: (label, tone, values) each.
        unit: what the values count.
    """
    every = np.concatenate([np.asarray(values, dtype=np.float64) for _, _, values in series])
    top = float(every.max(initial=1.0))
    # Bins of round width that start at zero, so that both series share them and a reader can name them.
    width = next(step for step in round_widths() if top / step <= _MOST_BARS)
    edges = np.arange(0.0, top + width * 1.001, width)
    x_axis = Axis(0.0, float(edges[-1]))
    shares = [np.histogram(values, edges)[0] / max(1, len(values)) for _, _, values in series]
    y_axis = Axis(0.0, float(max(share.max(initial=0.0) for share in shares)) * 1.08 or 1.0)
    parts = _grid(x_axis, y_axis, percent=True)
    shapes = []
    for (_, tone, _), share in zip(series, shares, strict=True):
        xs, ys = np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(share, 2), [0.0]])
        path = _path(xs, ys, x_axis, y_axis)
        shapes += [element("path", d=path, class_=f"fill {tone}"), element("path", d=path, class_=f"stroke {tone}")]
    parts.append(_stretched(*shapes))
    parts += [
        _at("line", x_axis, float(np.mean(values)), class_=f"mean {tone}", y1="0", y2="100%")
        for _, tone, values in series
        if len(values)
    ]
    words = "; ".join(
        f"{label}: mean {brief(float(np.mean(values)))} {unit}" for label, _, values in series if len(values)
    )
    return element("svg", *parts, class_="plot", role="img", aria_label=f"Distribution of {unit}. {words}.")


def against(points: Sequence[tuple[float, float, float, float]], *, describe: str) -> Markup:
    """
    Draw shares against the probabilities that were said, with the line on which both are the same.

    Args:
        points: (said, found, low, high) each, in [0, 1].
        describe: the figure in words, for those who do not see it.
    """
    x_axis = padded([x for x, *_ in points], 0.06)
    y_axis = padded([number for _, *rest in points for number in rest] + [x_axis.low, x_axis.high], 0.04)
    same = {"y1": _pc(1 - y_axis.share(x_axis.low)), "y2": _pc(1 - y_axis.share(x_axis.high))}
    parts = _grid(x_axis, y_axis, percent=True)
    parts.append(element("line", x1="0", x2="100%", **same, class_="guide"))
    line = Line(
        label="",
        tone="after",
        xs=[x for x, *_ in points],
        ys=[y for _, y, *_ in points],
        low=[low for *_, low, _ in points],
        high=[high for *_, high in points],
        style="dots",
    )
    return element("svg", *parts, *_dots(line, x_axis, y_axis), class_="plot", role="img", aria_label=describe)


def balance(parts: Sequence[tuple[str, float]]) -> Markup:
    """Draw one bar that is divided in proportion to (tone, amount) parts."""
    total = math.fsum(amount for _, amount in parts) or 1.0
    out, start = [], 0.0
    for tone, amount in parts:
        out.append(element("rect", x=_pc(start / total), y=0, width=_pc(amount / total), height="100%", class_=tone))
        start += amount
    return element("svg", *out, class_="balance", aria_hidden="true")


def verdict_bar(matchup: Matchup) -> Markup:
    """Draw wins, ties, losses and what could not be scored, in proportion."""
    parts = [("win", matchup.wins), ("tie", matchup.ties), ("loss", matchup.losses), ("unscored", matchup.unscored)]
    return balance([(tone, float(amount)) for tone, amount in parts])


def block(scores: Sequence[Score]) -> Block:
    """Draw shares with their intervals, each on the same scale with one half marked."""
    decimals = common_decimals(scores) if scores else 0
    return [
        (score.label or measure_of(score).title, show(score, decimals=decimals), score.num_clusters, _strip(score))
        for score in scores
    ]


def _strip(score: Score) -> Markup:
    return intervals([("after", 100 * score.value, 100 * score.low, 100 * score.high)], guide=50.0, within=(0.0, 100.0))


def _smooth_of(line: Line) -> Floats:
    return _smoothed(line, line.ys)


def _smoothed(line: Line, values: Sequence[float]) -> Floats:
    return smooth(values, _sigma(line)) if _sigma(line) else np.asarray(values, dtype=np.float64)


def _sigma(line: Line) -> float:
    return smoothing(len(line.ys)) if line.style == "noisy" else 0.0


def _x_axis(chart: Chart) -> Axis:
    xs = [x for line in chart.lines for x in line.xs]
    low, high = min(xs, default=0.0), max(xs, default=0.0)
    # Training starts at step 0 even where the first step that was logged is later.
    from_zero = low == high or low <= high / 10
    return Axis(0.0 if from_zero else low, high if high > 0 else 1.0)


def _y_axis(chart: Chart) -> Axis:
    """Make an axis for all smoothed lines, dots, intervals and guides, and all but the wildest 2 % of raw values."""
    bounds = [value for value, _ in chart.guides]
    for line in chart.lines:
        bounds += [float(v) for v in _smooth_of(line)]
        # Only a smoothed series may leave the picture: its smooth line shows where it was.
        wild = _WILD if _sigma(line) else 0.0
        for values in (line.ys, line.low, line.high):
            if len(values):
                bounds += [float(q) for q in np.quantile(np.asarray(values, dtype=np.float64), [wild, 1 - wild])]
    return padded(bounds, 0.06)


def _grid(x_axis: Axis, y_axis: Axis, *, small: bool = False, percent: bool = False) -> list[Markup]:
    parts = []
    y_values = y_axis.ticks(3 if small else 4)
    decimals = tick_decimals(y_values)
    for value in y_values:
        y = _pc(1 - y_axis.share(value))
        text = plain(value * 100, max(0, decimals - 2)) + "%" if percent else _tick(value, decimals)
        parts.append(element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"))
        parts.append(element("text", text, x="-8", y=y, dy="0.32em", class_="tick end"))
    parts += _x_ticks(x_axis)
    parts.append(element("line", x1="0", x2="100%", y1="100%", y2="100%", class_="axis"))
    return parts


def _x_ticks(axis: Axis) -> list[Markup]:
    values = axis.ticks(5)
    decimals = tick_decimals(values)
    # The last number ends at the plot's edge, to stay inside the page.
    anchors = ["end" if axis.share(value) > 0.97 else "mid" for value in values]  # noqa: PLR2004
    return [
        element("text", _tick(value, decimals), x=_pc(axis.share(value)), y="100%", dy="1.5em", class_=f"tick {anchor}")
        for value, anchor in zip(values, anchors, strict=True)
    ]


def _tick(value: float, decimals: int) -> str:
    return brief(value) if decimals > 4 else plain(value, decimals)  # noqa: PLR2004 - 5e-06, not 0.000005


def _guides(chart: Chart, y_axis: Axis) -> list[Markup]:
    parts = []
    for value, name in chart.guides:
        y = _pc(1 - y_axis.share(value))
        parts.append(element("line", x1="0", x2="100%", y1=y, y2=y, class_="guide"))
        parts.append(element("text", name, x="100%", y=y, dy="-0.4em", class_="tick end"))
    return parts


def _rug(chart: Chart, x_axis: Axis) -> list[Markup]:
    shown = chart.rug[:: max(1, math.ceil(len(chart.rug) / _MOST_MARKS))]
    return [_at("line", x_axis, step, class_="rug", y1="94%", y2="100%") for step in shown]


def _stretched(*shapes: Markup) -> Markup:
    return element(
        "svg", *shapes, viewBox=f"0 0 {_SPAN:.0f} {_SPAN:.0f}", preserveAspectRatio="none", width="100%", height="100%"
    )


def _line_shapes(line: Line, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    if line.style == "dots":
        return [element("path", d=_path(line.xs, line.ys, x_axis, y_axis), class_=f"stroke thin {line.tone}")]
    smoothed = _smooth_of(line)
    shapes = []
    if len(line.low) and len(line.high):
        # The band is smoothed as its line is, or the line would leave it.
        (xs, low), (_, high) = (means(line.xs, _smoothed(line, end)) for end in (line.low, line.high))
        outline = _path([*xs, *xs[::-1]], [*low, *high[::-1]], x_axis, y_axis)
        shapes.append(element("path", d=f"{outline}Z", class_=f"fill {line.tone}"))
    if _sigma(line):
        shapes.append(
            # Extremes, not means: thinning a raw series must not hide its spikes.
            element("path", d=_path(*extremes(line.xs, line.ys), x_axis, y_axis), class_=f"stroke raw {line.tone}")
        )
    shapes.append(element("path", d=_path(*means(line.xs, smoothed), x_axis, y_axis), class_=f"stroke {line.tone}"))
    return shapes


def _dots(line: Line, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    parts = []
    for i, (x, y) in enumerate(zip(line.xs, line.ys, strict=True)):
        if len(line.low) and len(line.high):
            ends = {"y1": _pc(1 - y_axis.share(line.low[i])), "y2": _pc(1 - y_axis.share(line.high[i]))}
            parts.append(_at("line", x_axis, x, class_=f"whisker {line.tone}", **ends))
        parts.append(
            element("circle", cx=_pc(x_axis.share(x)), cy=_pc(1 - y_axis.share(y)), r=3.5, class_=f"dot {line.tone}")
        )
    return parts


def _hovers(lines: Sequence[Line], x_axis: Axis) -> list[Markup]:
    """Draw invisible strips that show the values of a step under the pointer (or a finger); no script needed."""
    longest = max(lines, key=lambda line: len(line.xs), default=None)
    if longest is None or not len(longest.xs):
        return []
    steps = list(longest.xs[:: math.ceil(len(longest.xs) / _MOST_HOVERS)])
    shown = [(line, _smooth_of(line)) for line in lines if len(line.xs)]
    # Each strip reaches half way to its neighbours, so that any point of the plot is nearest to its own step.
    edges = [x_axis.low, *((a + b) / 2 for a, b in pairwise(steps)), x_axis.high]
    parts = []
    for i, step in enumerate(steps):
        left, right = x_axis.share(edges[i]), x_axis.share(edges[i + 1])
        reading = " · ".join([f"step {count(step)}", *(_reading(line, ys, step) for line, ys in shown)])
        parts.append(
            element(
                "g",
                element("rect", x=_pc(left), width=_pc(right - left), y=0, height="100%"),
                _at("line", x_axis, step, y1="0", y2="100%"),
                element("text", reading, x="100%", y="-6"),
                class_="hover",
            )
        )
    return parts


def _reading(line: Line, smoothed_N: Floats, step: float) -> str:
    """Return what a line says at a step: its nearest value, with its interval, and its own step if it differs."""
    i = int(np.argmin(np.abs(np.asarray(line.xs, dtype=np.float64) - step)))
    text = f"{line.label} {brief(float(smoothed_N[i]))}"
    if line.style == "dots" and len(line.low) and len(line.high):
        text += f" ({brief(line.low[i])} to {brief(line.high[i])})"
    return text if line.xs[i] == step else f"{text} at {count(line.xs[i])}"


def _at(name: str, axis: Axis, value: float, **attributes: object) -> Markup:
    """Draw a vertical line at a value of the x axis."""
    x = _pc(axis.share(value))
    return element(name, x1=x, x2=x, **attributes)


def _pc(share: float) -> str:
    return f"{share * 100:.2f}%"


def _path(xs: Iterable[float], ys: Iterable[float], x_axis: Axis, y_axis: Axis) -> str:
    points = [f"{x_axis.share(x) * _SPAN:.1f} {(1 - y_axis.share(y)) * _SPAN:.1f}" for x, y in zip(xs, ys, strict=True)]
    # A lone point needs a line to itself, or nothing is drawn.
    return "M" + "L".join(points if len(points) > 1 else points * 2)
