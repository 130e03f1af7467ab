"""Equal answers or a tiny KL show that a model has hardly changed; few answers, and drawn ones that differ, do not."""

import pytest

from haloes.report.model_change import ModelChange
from haloes.results import Score


def change(equal: int, answers: int, *, kl: float | None = None, is_greedy: bool = True) -> ModelChange:
    """KL is given as the upper end of its interval."""
    score = None
    if kl is not None:
        numbers = {"value": kl / 2, "low": kl / 4, "high": kl, "num_rows": 6, "num_clusters": 6, "method": "m"}
        score = Score(name="kl", variant="after", **numbers)
    return ModelChange(num_answers=answers, num_equal=equal, is_greedy=is_greedy, kl=score)


@pytest.mark.parametrize(
    ("found", "is_slight"),
    [
        (change(6, 6), True),
        (change(9, 10), True),
        (change(8, 10), False),
        (change(3, 3), False),
        (change(3, 3, kl=0.02), True),
        (change(3, 3, kl=0.03), False),
        (change(0, 0, kl=0.001), True),
        (change(0, 0), False),
        (change(2, 6, kl=0.001), False),
        (change(0, 6, kl=0.001, is_greedy=False), True),
        (change(6, 6, is_greedy=False), True),
        (change(0, 6, kl=float("nan")), False),
    ],
)
def test_when_a_model_has_hardly_changed(found: ModelChange, is_slight: bool) -> None:
    assert found.is_slight is is_slight


@pytest.mark.parametrize(
    ("found", "is_large"),
    [
        (change(3, 6), True),
        (change(4, 6), False),
        (change(0, 6, is_greedy=False), False),
        (change(0, 0), False),
    ],
)
def test_when_answers_have_changed_much(found: ModelChange, is_large: bool) -> None:
    assert found.is_large is is_large


def test_drawn_answers_that_differ_are_not_counted_as_changed() -> None:
    drawn = change(1, 6, kl=0.01, is_greedy=False)

    assert drawn.changed == ""
    assert drawn.equal.startswith("the KL to the reference is 0.005 nats an answer (95% interval")
    assert change(1, 6).changed == "5 of 6 sampled answers changed"
