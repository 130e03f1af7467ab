"""Panels of functions as one SVG file that stands alone, readable on light and on dark ground."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from haloes.report.charts import element
from haloes.report.plot import Panel, Trace
from haloes.report.scales import Axis, tick_decimals
from haloes.store import write_text

_STYLE = """
text { font: 13px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #3c434c; }
.title { font-size: 15px; font-weight: 600; fill: #1d2126; }
.end { text-anchor: end; } .mid { text-anchor: middle; }
.paper { fill: #ffffff; } .grid { stroke: #e5e2dc; } .zero { stroke: #8b919b; }
.curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; } .dashed { stroke-dasharray: 7 5; }
.c0 { stroke: #0072b2; } .c1 { stroke: #c9540a; } .c2 { stroke: #00795c; }
.c3 { stroke: #a0478b; } .c4 { stroke: #8a6d00; } .c5 { stroke: #4d5866; }
@media (prefers-color-scheme: dark) {
  text { fill: #b6bbc3; } .title { fill: #e8e6e1; }
  .paper { fill: #141619; } .grid { stroke: #2f3339; } .zero { stroke: #8f959f; }
  .c0 { stroke: #5ab4ec; } .c1 { stroke: #f09043; } .c2 { stroke: #4cc6a0; }
  .c3 { stroke: #d98cc6; } .c4 { stroke: #d9b83a; } .c5 { stroke: #a9b4c8; }
}
"""
_WIDTH, _HEIGHT = 460.0, 300.0
"""Size of a panel's plot, in pixels."""
_LEFT, _TOP, _BOTTOM = 64.0, 44.0, 56.0
_KEY_HEIGHT = 20.0


def write_svg(panels: Sequence[Panel], path: Path) -> None:
    """Write the panels side by side, with the names of their functions below. Raises DataError if it cannot be."""
    write_text(path, svg(panels) + "\n")


def svg(panels: Sequence[Panel]) -> Markup:
    """Render the panels as SVG text."""
    traces = panels[0].traces
    rows = (len(traces) + 1) // 2
    width = len(panels) * (_LEFT + _WIDTH) + 24
    height = _TOP + _HEIGHT + _BOTTOM + rows * _KEY_HEIGHT
    parts = [
        element("title", "; ".join(panel.title for panel in panels)),
        element("style", Markup(_STYLE)),  # noqa: S704 - our own, above
        element("rect", width="100%", height="100%", class_="paper"),
        *(_panel(panel, left=_LEFT + i * (_LEFT + _WIDTH), number=i) for i, panel in enumerate(panels)),
        *(_key(trace, i) for i, trace in enumerate(traces)),
    ]
    box = f"0 0 {width:g} {height:g}"
    return element("svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, width=f"{width:g}", role="img")


def _panel(panel: Panel, *, left: float, number: int) -> Markup:
    x_axis, y_axis = panel.x_axis, panel.y_axis
    # Functions may leave the picture, and must not run over its title and numbers.
    clip = element("clipPath", element("rect", width=_WIDTH, height=_HEIGHT), id=f"plot{number}")
    lines = [
        element("path", d=_path(t, x_axis, y_axis), class_=f"curve c{t.colour}{' dashed' if t.dashed else ''}")
        for t in panel.traces
    ]
    return element(
        "g",
        clip,
        element("text", panel.title, x=0, y=-18, class_="title"),
        *_grid(x_axis, y_axis),
        element("g", *lines, clip_path=f"url(#plot{number})"),
        element("text", panel.x_label, x=_WIDTH / 2, y=_HEIGHT + 40, class_="mid"),
        transform=f"translate({left:g} {_TOP:g})",
    )


def _grid(x_axis: Axis, y_axis: Axis) -> list[Markup]:
    parts = []
    for axis, most in ((x_axis, 6), (y_axis, 5)):
        values = axis.ticks(most)
        decimals = tick_decimals(values)
        for value in values:
            text = f"{value:.{decimals}f}".replace("-", "−")
            line = "zero" if abs(value) < 1e-9 else "grid"  # noqa: PLR2004 - a tick at 0, up to rounding
            if axis is x_axis:
                x = f"{axis.share(value) * _WIDTH:.1f}"
                parts.append(element("line", x1=x, x2=x, y1=0, y2=_HEIGHT, class_=line))
                parts.append(element("text", text, x=x, y=_HEIGHT + 18, class_="mid"))
            else:
                y = f"{(1 - axis.share(value)) * _HEIGHT:.1f}"
                parts.append(element("line", x1=0, x2=_WIDTH, y1=y, y2=y, class_=line))
                parts.append(element("text", text, x=-8, y=y, dy="0.32em", class_="end"))
    return parts


def _path(trace: Trace, x_axis: Axis, y_axis: Axis) -> str:
    """Draw the function as a path; what lies far outside the picture is brought near, so that no number overflows."""
    height = np.clip((trace.ys - y_axis.low) / (y_axis.high - y_axis.low), -1, 2)
    points = [
        f"{x_axis.share(float(x)) * _WIDTH:.1f} {(1 - share) * _HEIGHT:.1f}"
        for x, share in zip(trace.xs, height, strict=True)
        if np.isfinite(share)
    ]
    return "M" + "L".join(points)


def _key(trace: Trace, position: int) -> Markup:
    x = _LEFT + position % 2 * (_LEFT + _WIDTH)
    y = _TOP + _HEIGHT + _BOTTOM + position // 2 * _KEY_HEIGHT
    shape = f"M{x:g} {y:g}h34"
    return element(
        "g",
        element("path", d=shape, class_=f"curve c{trace.colour}{' dashed' if trace.dashed else ''}"),
        element("text", trace.label, x=x + 44, y=y, dy="0.32em"),
    )
