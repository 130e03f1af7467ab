"""Functions in a terminal: what is drawn where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.report.plot import Panel, Trace, terminal


def trace(ys: list[float], *, label: str = "f", colour: int = 0, dashed: bool = False) -> Trace:
    values = np.array(ys, dtype=np.float64)
    return Trace(label=label, colour=colour, dashed=dashed, xs=np.linspace(-1, 1, len(ys)), ys=values)


def panel(*traces: Trace) -> Panel:
    return Panel(title="Value", x_label="reward", traces=traces, dashed="undesirable")


def picture(shown: Panel, *, width: int = 50, height: int = 8) -> list[str]:
    """The characters of the plot itself."""
    return [line.plain[9:] for line in terminal(shown, width=width, height=height)[1 : height + 1]]


def filled(row: str) -> int:
    return sum(character != "\u2800" for character in row)


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    rows = picture(panel(trace([-1.0, 1.0])))

    assert not rows[-1].startswith("\u2800")
    assert not rows[0].endswith("\u2800")
    assert rows[0].startswith("\u2800" * 20)
    assert rows[-1].endswith("\u2800" * 20)


def test_a_dashed_line_has_gaps():
    solid, dashed = (
        picture(panel(trace([0.0, 1.0, 1.0, 1.0], dashed=d), trace([0.0, 0.0], colour=1))) for d in (False, True)
    )

    assert sum(map(filled, dashed)) < sum(map(filled, solid))


def test_what_is_far_higher_than_the_flattest_function_is_cut_off():
    axis = panel(trace([0.0, 1.0]), trace([0.0, 1e6]), trace([0.0, float("inf")])).y_axis

    assert 8 <= axis.high <= 9


def test_a_function_that_is_nowhere_finite_leaves_the_others_as_they_are():
    alone, beside = panel(trace([0.0, 1.0])), panel(trace([0.0, 1.0]), trace([float("nan")] * 2, colour=1))

    assert picture(beside) == picture(alone)


def test_functions_are_named_once_and_in_their_colour():
    shown = terminal(panel(trace([0, 1.0], label="kto"), trace([1.0, 0], label="kto, bad", dashed=True)), width=60)

    assert shown[0].plain == "Value"
    assert shown[-1].plain.split("   ")[-2:] == ["── kto", "╌╌ undesirable"]
    assert shown[-1].spans[0].style == "blue"
    assert "-1" in shown[-2].plain
    assert "reward" in shown[-2].plain


@given(
    st.lists(
        st.floats(-1e100, 1e100) | st.sampled_from([float("nan"), float("inf"), float("-inf")]), min_size=2, max_size=8
    ),
    st.integers(1, 200),
    st.integers(1, 20),
)
def test_any_function_is_drawn_within_its_frame(ys: list[float], width: int, height: int):
    with np.errstate(all="ignore"):
        lines = terminal(panel(trace(ys)), width=width, height=height)

    assert len(lines) == height + 3
    assert {len(line.plain) for line in lines[1 : height + 1]} == {9 + max(20, width - 10)}


@pytest.mark.parametrize("height", [4, 12])
def test_round_values_stand_beside_the_rows_that_they_fall_into(height: int):
    lines = terminal(panel(trace([0.0, 10.0])), width=60, height=height)[1 : height + 1]
    marks = [float(line.plain[:8]) for line in lines if "┤" in line.plain]

    assert marks == sorted(marks, reverse=True)
    assert marks[-1] == 0.0
    assert len(marks) >= 2
