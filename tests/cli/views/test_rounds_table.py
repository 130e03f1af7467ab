"""The table of online rounds on a terminal of 80 columns."""

from typing import Any

import pytest

from haloes.cli.views.online import show_curve
from haloes.online_rounds.rounds import CurvePoint
from haloes.results import Score


def score(value: float, **ends: Any) -> Score:
    fields: dict[str, Any] = {"low": value, "high": value, "no_interval": "no spread: all equal"} | ends
    return Score(
        name="share", label="Share", variant="kto", method="", value=value, num_rows=8, num_clusters=8, **fields
    )


def test_what_a_round_learnt_from_is_read_also_where_no_number_has_an_interval(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    equal = CurvePoint(round=0, rating=score(0.5), kl=score(0.0), words=score(4.0))
    wide = score(0.25, low=0.046, high=0.699, no_interval="")
    other = CurvePoint(
        round=1, rating=wide, kl=score(0.0), words=score(4.0), feedback={"desirable": 12, "undesirable": 11}
    )
    show_curve([equal, other], 4, "previous")
    out = capsys.readouterr().out

    assert "12 good" in out
    assert "Words" in out
    assert "25.0% (4.6% to 69.9%)" in out
    assert "spread" in out
    assert "Round" in out
    assert all(len(line) <= 80 for line in out.splitlines())
