"""Theorem 4.3, by the closed form, by descent, and by trying all policies of a grid."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haloes.recipes.theory.contradictory_preferences import REFERENCE, Disagreement, lines, optimum

REFERENCES = [
    REFERENCE,
    torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64),
    torch.tensor([0.5, 0.5], dtype=torch.float64),
]

cases = pytest.mark.parametrize(
    "people",
    [
        Disagreement(p, beta, reference)
        for p, beta, reference in itertools.product((0.55, 0.6, 0.75, 0.9), (0.3, 1.0), REFERENCES)
    ],
    ids=lambda people: f"p={people.p} beta={people.beta} b={float(people.reference_Y[1])}",
)


def policy_of(weights: list[float]) -> torch.Tensor:
    values = torch.tensor(weights, dtype=torch.float64)
    return values / values.sum()


@cases
def test_descent_finds_the_optimum_of_the_closed_form(people: Disagreement):
    found = optimum(people.dpo_loss, people.reference_Y)

    assert float(found[0] / found[1]) == pytest.approx(people.dpo_optimal_ratio(), rel=1e-5)


@cases
def test_dpo_prefers_the_minority_exactly_under_the_condition_of_the_theorem(people: Disagreement):
    found = optimum(people.dpo_loss, people.reference_Y)
    a, b = people.reference_Y[:2].tolist()
    condition = people.p ** (1 / people.beta) * a < (1 - people.p) ** (1 / people.beta) * b

    assert bool(found[0] < found[1]) is condition
    assert people.dpo_prefers_the_minority() is condition


def test_dpos_optimum_by_hand():
    # (0.05 / 0.9) (0.6 / 0.4)^(1/0.5) = 0.0555... * 2.25 = 0.125: y_b, though three in five prefer y_a.
    people = Disagreement(0.6, 0.5, REFERENCE)

    assert people.dpo_optimal_ratio() == pytest.approx(0.125)
    assert people.dpo_prefers_the_minority()


@cases
def test_kto_puts_its_mass_on_the_answer_of_the_majority(people: Disagreement):
    found = optimum(people.kto_loss, people.reference_Y)

    assert float(found[0]) > 0.99
    assert float(found[1]) < 1e-3


@pytest.mark.parametrize("people", [Disagreement(p, 0.5, reference) for p in (0.55, 0.9) for reference in REFERENCES])
@pytest.mark.parametrize("point", [0.0, 0.7])
def test_no_policy_has_a_lower_loss_under_kto_than_all_mass_on_the_answer_of_the_majority(
    people: Disagreement, point: float
):
    tiny = 1e-12
    majority = policy_of([1.0, *[tiny] * (len(people.reference_Y) - 1)])
    best = float(people.kto_loss(majority, reference_point=point))
    shares = [tiny, 0.25, 0.5, 0.75, 1.0]
    for weights in itertools.product(shares, repeat=len(people.reference_Y)):
        assert float(people.kto_loss(policy_of(list(weights)), reference_point=point)) >= best - 1e-9


@given(
    st.lists(st.floats(1e-6, 1), min_size=3, max_size=3),
    st.lists(st.floats(1e-6, 1), min_size=3, max_size=3),
    st.floats(0.01, 2),
    st.floats(0, 5),
)
def test_where_people_are_divided_equally_ktos_loss_is_one_half_whatever_the_policy(
    policy: list[float], reference: list[float], beta: float, point: float
):
    people = Disagreement(0.5, beta, policy_of(reference))

    assert float(people.kto_loss(policy_of(policy), reference_point=point)) == pytest.approx(0.5, abs=1e-12)


def test_where_people_are_divided_equally_dpo_changes_nothing():
    people = Disagreement(0.5, 0.1, REFERENCE)

    assert torch.allclose(optimum(people.dpo_loss, REFERENCE), REFERENCE)


def test_what_is_shown_is_both_optima():
    shown = [line.split() for line in lines()]

    assert ["0.9", "0.5000", "0.5000", "y_b", "1.0000", "0.0000"] in shown
    assert ["0.99", "5.5000", "5.5000", "y_a", "1.0000", "0.0000"] in shown
