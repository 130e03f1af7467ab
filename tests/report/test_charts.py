"""Charts: the arithmetic of axes and smoothing, what is drawn, and that text in them stays text."""

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.report.charts import Chart, Line, balance, curves, describe, element, histogram, intervals
from haloes.report.scales import Axis, extremes, means, padded, smooth, smoothing, tick_decimals

finite = st.floats(-1e60, 1e60)


def chart(*lines: Line, **rest: Any) -> Chart:
    return Chart(**{"title": "Loss by step", "unit": "nats", "lines": lines, **rest})


def line(ys: list[float], **rest: Any) -> Line:
    return Line(**{"label": "training", "tone": "train", "xs": list(range(1, len(ys) + 1)), "ys": ys, **rest})


def elements(svg: str, name: str, of_class: str = "") -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter(name) if of_class in e.get("class", "")]


@given(finite, st.floats(1e-6, 1e6), st.integers(2, 6))
def test_ticks_are_inside_evenly_spaced_and_not_too_many(low: float, share: float, most: int) -> None:
    axis = Axis(low, low + max(abs(low), 1.0) * share)
    ticks = axis.ticks(most)
    assert 1 <= len(ticks) <= 2 * most
    slack = (axis.high - axis.low) * 1e-6
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (0.37, 0.52, [0.4, 0.45, 0.5]), (-8.2, 5.3, [-5, 0, 5])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high).ticks(5 if high == 100 else 4) == pytest.approx(ticks)


def test_ticks_are_written_without_rounding_any() -> None:
    assert tick_decimals([0.0, 20.0]) == 0
    assert tick_decimals([0.4, 0.45, 0.5]) == 2
    assert tick_decimals([2e-6, 4e-6]) == 6


def test_an_axis_is_never_of_no_width() -> None:
    for value in (0.0, 5.0, -3.0):
        axis = padded([value], 0.1)
        assert axis.low < value < axis.high
    # What is 0 throughout is not drawn as if billionths mattered.
    assert padded([0.0, 0.0], 0.1) == Axis(-0.5, 0.5)


def test_smoothing_keeps_constants_and_the_middle_of_straight_lines() -> None:
    assert smooth([3.0] * 20, 2.0) == pytest.approx([3.0] * 20)
    assert smooth(list(range(41)), 2.0)[10:31] == pytest.approx(list(range(10, 31)))


def test_smoothing_is_the_gaussian_weighted_mean() -> None:
    ys = [1.0, 5.0, 2.0, 8.0, 3.0, 9.0, 4.0, 7.0]
    for i, smoothed in enumerate(smooth(ys, 1.0)):
        near = [(math.exp(-0.5 * (i - j) ** 2), y) for j, y in enumerate(ys) if abs(i - j) <= 3]
        assert smoothed == pytest.approx(sum(w * y for w, y in near) / sum(w for w, _ in near))


def test_short_series_are_not_smoothed() -> None:
    assert smoothing(15) == 0
    assert smoothing(400) == 10


def test_thinning_keeps_spikes_and_means() -> None:
    ys = [0.0] * 5000
    ys[1234], ys[4321] = 9.0, -7.0
    _, kept = extremes(list(range(5000)), ys)
    assert (kept.max(), kept.min(), len(kept)) == (9.0, -7.0, 800)
    xs, averaged = means(list(range(5000)), list(range(5000)))
    assert averaged == pytest.approx(xs)
    assert len(xs) == 400


def test_a_noisy_series_is_drawn_faint_with_a_strong_line_on_top() -> None:
    svg = curves(chart(line([math.sin(i) for i in range(50)])))
    drawn = [e.get("class") for e in elements(svg, "path")]
    assert drawn == ["stroke raw train", "stroke train"]


def test_an_exact_series_is_drawn_once_and_as_it_is() -> None:
    svg = curves(chart(line([0.0, 1.0] * 20, style="exact")))
    (path,) = elements(svg, "path")
    heights = {point.split()[1] for point in path.get("d")[1:].split("L")}
    assert len(heights) == 2


def test_points_lie_where_their_values_are() -> None:
    svg = curves(chart(line([0.0, 5.0, 10.0], style="dots", xs=[0, 50, 100])))
    dots = elements(svg, "circle", "dot")
    assert [dot.get("cx") for dot in dots] == ["0.00%", "50.00%", "100.00%"]
    ys = [float(dot.get("cy").rstrip("%")) for dot in dots]
    assert ys[1] == pytest.approx(50)
    assert ys[0] > ys[1] > ys[2], "up is more"


def test_an_interval_is_drawn_from_its_low_to_its_high_end() -> None:
    svg = curves(chart(line([0.6, 0.7], style="dots", low=[0.5, 0.65], high=[0.7, 0.75])))
    dots, whiskers = elements(svg, "circle", "dot"), elements(svg, "line", "whisker")
    assert len(whiskers) == 2
    for dot, whisker in zip(dots, whiskers, strict=True):
        y, low, high = (float(text.rstrip("%")) for text in (dot.get("cy"), whisker.get("y1"), whisker.get("y2")))
        assert low > y > high
        assert low - y == pytest.approx(y - high, abs=0.02)


def test_a_band_and_the_marked_steps_are_drawn() -> None:
    ys = [0.1 * (i % 3) for i in range(20)]
    band = line(ys, low=[y - 1 for y in ys], high=[y + 1 for y in ys])
    svg = curves(chart(band, rug=(3, 7), guides=((0.0, "clamp"),)))
    assert len(elements(svg, "path", "fill")) == 1
    assert len(elements(svg, "line", "rug")) == 2
    assert "clamp" in svg


def test_a_single_step_is_visible() -> None:
    svg = curves(chart(line([0.5])))
    (path,) = elements(svg, "path")
    assert path.get("d").count("L") == 1


def test_a_single_validation_lies_at_the_end_of_the_run() -> None:
    svg = curves(chart(line([0.7], style="dots", xs=[120])))
    (dot,) = elements(svg, "circle", "dot")
    assert dot.get("cx") == "100.00%"
    assert next(e.text for e in elements(svg, "text", "tick") if e.get("y") == "100%") == "0"


def test_a_run_that_was_logged_late_is_not_squeezed_to_the_edge() -> None:
    svg = curves(chart(line([1.0, 2.0, 3.0], style="dots", xs=[900, 950, 1000])))
    assert [dot.get("cx") for dot in elements(svg, "circle", "dot")] == ["0.00%", "50.00%", "100.00%"]


def test_hovering_shows_measured_values_and_where_they_were_measured() -> None:
    training = line([0.5, 0.4, 0.3, 0.2])
    held_out = line([0.45, 0.35], label="held-out", xs=[1, 4], style="dots", low=[0.4, 0.3], high=[0.5, 0.4])
    texts = ["".join(e.itertext()) for e in elements(curves(chart(training, held_out)), "g", "hover")]
    assert texts[0] == "step 1 · training 0.5 · held-out 0.45 (0.4 to 0.5)"
    assert texts[2] == "step 3 · training 0.3 · held-out 0.35 (0.3 to 0.4) at 4"


def test_long_runs_do_not_make_long_pages() -> None:
    ys = np.random.default_rng(0).normal(size=20_000).tolist()
    assert len(curves(chart(line(ys), rug=tuple(range(20_000))))) < 120_000


def test_a_chart_says_in_words_where_its_lines_begin_and_end() -> None:
    described = describe(chart(line([0.5, 0.25])))
    assert described == "Loss by step: training from 0.5 at step 1 to 0.25 at step 2."


def test_intervals_share_a_scale_that_holds_the_guide() -> None:
    svg = intervals([("before", 2.0, 1.0, 3.0), ("after", 6.0, 5.0, 7.0)], guide=0.0)
    (guide,) = elements(svg, "line", "guide")
    before, after = elements(svg, "circle")
    positions = [float(text.rstrip("%")) for text in (guide.get("x1"), before.get("cx"), after.get("cx"))]
    assert 0 < positions[0] < positions[1] < positions[2] < 100
    assert (positions[2] - positions[1]) == pytest.approx(2 * (positions[1] - positions[0]), abs=0.05)


def test_charts_within_the_same_ends_can_be_read_against_each_other() -> None:
    places = []
    for low, high in ((10.0, 30.0), (10.0, 90.0)):
        svg = intervals([("after", 20.0, low, high)], guide=50.0, within=(0.0, 100.0))
        (guide,), (dot,) = elements(svg, "line", "guide"), elements(svg, "circle")
        places.append((guide.get("x1"), dot.get("cx")))

    assert places[0] == places[1]


def test_a_histogram_shows_shares_so_that_sides_of_different_size_compare() -> None:
    svg = histogram([("before", "before", [10.0] * 30), ("after", "after", [10.0] * 3)], unit="words")
    before, after = (e.get("d") for e in elements(svg, "path", "fill"))
    assert before == after
    assert "before: mean 10 words; after: mean 10 words" in svg


def test_a_histogram_can_do_without_one_side() -> None:
    assert "after: mean 3 words" in histogram([("before", "before", []), ("after", "after", [2.0, 4.0])], unit="words")


def test_a_balance_is_divided_in_proportion() -> None:
    rects = elements(balance([("desirable", 1), ("undesirable", 3)]), "rect")
    assert [(r.get("x"), r.get("width")) for r in rects] == [("0.00%", "25.00%"), ("25.00%", "75.00%")]


def test_text_and_attributes_are_escaped() -> None:
    evil = "</text><script>alert('1')</script>\" onload=\"x"
    svg = curves(chart(line([1.0, 2.0], label=evil), title=evil, guides=((1.5, evil),)))
    assert "<script" not in svg
    parsed = ET.fromstring(svg)
    assert parsed.get("aria-label").startswith(evil)
    assert all("onload" not in e.attrib for e in parsed.iter())
    assert element("text", evil, class_=evil) == (
        '<text class="&lt;/text&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&#34; onload=&#34;x">'
        "&lt;/text&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&#34; onload=&#34;x</text>"
    )


@given(st.lists(finite, min_size=1, max_size=40), st.booleans())
def test_any_finite_series_can_be_drawn(ys: list[float], dots: bool) -> None:
    svg = curves(chart(line(ys, style="dots" if dots else "noisy"), guides=((0.0, ""),)))
    assert "nan" not in svg.lower()
    assert "inf" not in svg.lower()
