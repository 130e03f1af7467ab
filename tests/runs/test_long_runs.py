"""A run of hours says so after three steps, with what to set."""

from collections.abc import Iterator
from itertools import accumulate, repeat

import pytest

from haloes.runs.long_runs import LongRunNote


def told(seconds: float, *, num_steps: int, step: int = 0, epochs: float = 1.0, steps_seen: int = 6) -> list[str]:
    """Return what is said in a run whose steps take so long, with a validation after each."""
    texts: list[str] = []
    # A minute more for the first step, which must not count.
    clock: Iterator[float] = accumulate(repeat(seconds), initial=60.0)
    follower = LongRunNote(epochs, texts.append, now=lambda: next(clock))
    follower.on_start(step=step, num_steps=num_steps)
    for number in range(step + 1, step + 1 + steps_seen):
        follower.on_metrics({"split": "train", "step": number})
        follower.on_metrics({"split": "validation", "step": number})
    return texts


def test_a_run_of_hours_is_told_once_with_the_epochs_of_half_an_hour():
    # The clock is looked at twice, two steps apart: 90 s are two steps of 45 s.
    (text,) = told(90.0, num_steps=160)

    assert text == (
        "a step takes 45 s, so the 157 left take about 1 h 58 min: for a run of half an hour set "
        "train.epochs=0.25; stopped with Ctrl-C it goes on with `haloes resume`"
    )


def test_the_epochs_are_a_share_of_the_runs_own():
    assert "train.epochs=0.75;" in told(90.0, num_steps=160, epochs=3.0)[0]


@pytest.mark.parametrize(("num_steps", "step"), [(80, 0), (160, 80)])
def test_a_run_of_an_hour_or_less_says_nothing(num_steps: int, step: int):
    assert told(90.0, num_steps=num_steps, step=step) == []


def test_before_three_steps_nothing_is_said():
    assert told(90.0, num_steps=160, steps_seen=2) == []
