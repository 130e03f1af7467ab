"""Verdicts by position become preferences for the candidate, in pairs of orders."""

from typing import Any

import pytest

from haloes.records import Judgement
from haloes.stats.comparisons import comparisons, preference_of


def said(verdict: str | None, *, first: bool = True, prompt: str = "p", **fields: Any) -> Judgement:
    return Judgement(
        prompt_id=prompt,
        candidate="after",
        baseline="before",
        candidate_first=first,
        verdict=verdict,
        judge="j",
        **fields,
    )


@pytest.mark.parametrize(
    ("verdict", "first", "preference"),
    [
        ("first", True, 1.0),
        ("first", False, 0.0),
        ("second", True, 0.0),
        ("second", False, 1.0),
        ("tie", True, 0.5),
        ("tie", False, 0.5),
        (None, True, None),
    ],
)
def test_a_verdict_is_by_place_and_a_preference_is_for_the_candidate(
    verdict: str | None, first: bool, preference: float | None
):
    assert preference_of(said(verdict, first=first)) == preference


def test_the_judges_own_number_is_kept_unless_it_gave_no_verdict():
    assert preference_of(said("first", first=False, preference=0.3)) == 0.3
    assert preference_of(said(None, preference=0.3)) is None


def test_the_two_orders_of_a_pair_come_together():
    made = comparisons([said("first"), said("first", prompt="q"), said("first", first=False)])
    assert [c.prompt_id for c in made] == ["p", "q"]
    assert (made[0].shown_first, made[0].shown_second, made[0].preference) == (1.0, 0.0, 0.5)
    assert (made[1].shown_first, made[1].shown_second, made[1].preference) == (1.0, None, None)


def test_judges_templates_seeds_and_draws_are_comparisons_of_their_own():
    verdicts = [said("first"), said("first", draw=1), said("first", seed=1), said("first", template="paper")]
    assert len(comparisons(verdicts)) == 4
    assert comparisons([said("first", draw=2, candidate_length=10, baseline_length=20)])[0].draw == 2


def test_lengths_are_handed_on():
    made = comparisons([said("tie", first=False, candidate_length=10, baseline_length=20)])[0]
    assert (made.candidate, made.baseline, made.judge) == ("after", "before", "j")
    assert (made.candidate_length, made.baseline_length) == (10, 20)


def test_a_question_that_was_asked_again_counts_once():
    made = comparisons([said(None), said("second", first=False), said("first")])
    assert len(made) == 1
    assert made[0].preference == 1.0
