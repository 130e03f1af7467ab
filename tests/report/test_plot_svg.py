"""Functions as a picture: what is in it, and that text in it stays text."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from haloes.report.plot import Panel, Trace
from haloes.report.plot_svg import svg, write_svg

SPACE = "{http://www.w3.org/2000/svg}"


def panel(*ys: list[float], label: str = "kto") -> Panel:
    xs = np.linspace(-2, 2, 5)
    traces = tuple(
        Trace(label=f"{label} {i}", colour=i, dashed=i % 2 == 1, xs=xs, ys=np.array(values, dtype=np.float64))
        for i, values in enumerate(ys)
    )
    return Panel(title="Value", x_label="reward", traces=traces, dashed="undesirable")


def curves(*panels: Panel) -> list[ET.Element]:
    root = ET.fromstring(svg(panels))
    return [e for e in root.iter(f"{SPACE}path") if "curve" in e.get("class", "") and "h34" not in e.get("d", "")]


def test_each_function_is_a_line_in_each_panel_and_is_named_once():
    both = [panel([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]), panel([0, 0, 1, 0, 0], [1, 1, 1, 1, 1])]
    root = ET.fromstring(svg(both))
    texts = [e.text for e in root.iter(f"{SPACE}text")]

    assert [e.get("class") for e in curves(*both)] == ["curve c0", "curve c1 dashed"] * 2
    assert texts.count("kto 0") == texts.count("kto 1") == 1
    assert texts.count("Value") == 2


def test_a_line_runs_from_corner_to_corner():
    # The axis goes from -0.2 to 4.2: 0 lies at 4.2 / 4.4 of the height of 300, and 4 at 0.2 / 4.4.
    (line,) = curves(panel([0, 1, 2, 3, 4]))
    points = [tuple(map(float, point.split())) for point in line.get("d", "")[1:].split("L")]

    assert [x for x, _ in points] == [0.0, 115.0, 230.0, 345.0, 460.0]
    assert [y for _, y in points] == [286.4, 218.2, 150.0, 81.8, 13.6]


def test_values_without_bounds_stay_near_the_picture():
    line = curves(panel([0, 1, 2, 3, 4], [1e300, -1e300, float("inf"), float("nan"), 0]))[1]
    heights = [float(point.split()[1]) for point in line.get("d", "")[1:].split("L")]

    assert len(heights) == 4
    assert all(-300 <= height <= 600 for height in heights)


def test_text_stays_text():
    assert "&lt;b&gt; &amp; c 0" in svg([panel([0, 1, 0, 1, 0], label="<b> & c")])


def test_the_file_is_readable_on_light_and_on_dark_ground(tmp_path: Path):
    write_svg([panel([0, 1, 2, 3, 4])], tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()

    assert text.startswith("<svg ")
    assert "prefers-color-scheme: dark" in text
    assert "script" not in text
    ET.fromstring(text)
