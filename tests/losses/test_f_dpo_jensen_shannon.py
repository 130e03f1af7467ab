"""f-DPO with Jensen-Shannon, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.f_dpo_jensen_shannon import JensenShannonDPO
from pair_checks import (
    Tokens,
    accuracies,
    assert_agrees,
    assert_finite_at_extremes,
    log_ratio,
    losses,
    ratio_pairs,
    slopes,
)


def test_worked_example() -> None:
    # u = 3 and 1/3: 2u/(1+u) is 3/2 and 1/2, and the difference of their logarithms log 3.
    found = losses(JensenShannonDPO(beta=1.0), ratio_pairs([(log(3), -log(3))]))

    assert found == pytest.approx([log(1 + 1 / 3)], rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        ratios = [np.exp(log_ratio(side)) for side in (chosen, rejected)]
        rewards = [np.log(2 * u / (1 + u)) for u in ratios]
        return float(np.logaddexp(0, -beta * (rewards[0] - rewards[1])))

    assert_agrees(JensenShannonDPO(beta=beta), oracle, seed=seed)


def test_at_the_reference_its_gradient_is_half_of_dpos() -> None:
    # u f''(u) = 1 / (1 + u) is 1/2 at u = 1: beta / 4.
    assert losses(JensenShannonDPO(beta=0.2), ratio_pairs([(0, 0)])) == pytest.approx([log(2)])
    found = slopes(JensenShannonDPO(beta=0.2), ratio_pairs([(0, 0)]))
    assert found == [(pytest.approx([-0.05]), pytest.approx([0.05]))]


def test_the_gain_from_a_likelier_chosen_completion_is_bounded() -> None:
    # f' is at most log 2, so the loss stays above that of a margin of beta log 2, less than 1e-12 from it.
    found = losses(JensenShannonDPO(beta=1.0), ratio_pairs([(1000, 0), (40, 0)]))

    assert found == pytest.approx([log(1 + exp(-log(2)))] * 2, rel=1e-12)
    assert_finite_at_extremes(JensenShannonDPO())


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(JensenShannonDPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"f_dpo_jensen_shannon: beta must be positive and finite, got {beta}"):
        JensenShannonDPO(beta=beta)
