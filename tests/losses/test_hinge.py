"""The hinge loss, against sums done by hand and against the paper's formula written out in NumPy."""

import pytest

from haloes.errors import ConfigError
from haloes.losses.hinge import Hinge
from pair_checks import Tokens, accuracies, assert_agrees, log_ratio, losses, ratio_pairs, slopes


def test_worked_example() -> None:
    # Margins 0.1 * (12 - 2) = 1, 0.1 * (5 - 2) = 0.3, 0.1 * (-3 - 2) = -0.5, and one beyond 1.
    pairs = ratio_pairs([(12, 2), (5, 2), (-3, 2), (50, 2)])

    assert losses(Hinge(beta=0.1), pairs) == pytest.approx([0, 0.7, 1.5, 0], abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.05, 0.8])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        return max(0.0, 1 - (beta * log_ratio(chosen) - beta * log_ratio(rejected)))

    assert_agrees(Hinge(beta=beta), oracle, seed=seed)


def test_every_pair_that_is_not_far_enough_apart_pulls_alike_and_the_others_not_at_all() -> None:
    found = slopes(Hinge(beta=0.1), ratio_pairs([(0, 1000), (9, 0), (11, 0), (1000, 0)]))

    assert found == [([-0.1], [0.1]), ([-0.1], [0.1]), ([0.0], [0.0]), ([0.0], [0.0])]


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(Hinge(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"hinge: beta must be positive and finite, got {beta}"):
        Hinge(beta=beta)
