"""DPOP, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses.dpo import DPO
from haloes.losses.dpop import DPOP
from pair_checks import Tokens, accuracies, assert_agrees, log_ratio, losses, ragged_pairs, ratio_pairs, slopes


def test_worked_example() -> None:
    # 0.1 * (12 - 2) = 1 without a penalty; 0.1 * (-3 + 8 - 2 * 3) = -0.1 with one of 2 on the 3 nats lost.
    found = losses(DPOP(beta=0.1, penalty=2.0), ratio_pairs([(12, 2), (-3, -8)]))

    assert found == pytest.approx([log(1 + exp(-1)), log(1 + exp(0.1))], rel=1e-14)


def test_worked_gradient() -> None:
    # A nat of the chosen completion counts 1 + penalty times below the reference, one of the rejected one once.
    slope = 0.1 / (1 + exp(-0.1))

    found = slopes(DPOP(beta=0.1, penalty=2.0), ratio_pairs([(-3, -8)]))

    assert found == [(pytest.approx([-3 * slope]), pytest.approx([slope]))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "penalty"), [(0.3, 50.0), (0.1, 0.5)])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, penalty: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        lost = max(0.0, chosen["reference"].sum() - chosen["policy"].sum())
        return float(np.logaddexp(0, -beta * (log_ratio(chosen) - log_ratio(rejected) - penalty * lost)))

    assert_agrees(DPOP(beta=beta, penalty=penalty), oracle, seed=seed)


def test_without_a_penalty_it_is_dpo() -> None:
    pairs = ragged_pairs(3)

    assert losses(DPOP(beta=0.3, penalty=0), pairs) == losses(DPO(beta=0.3), pairs)


def test_it_is_dpo_where_the_chosen_completion_has_not_become_less_likely() -> None:
    pairs = ratio_pairs([(0, -3), (2, 5), (4, 1)])

    assert losses(DPOP(beta=0.2, penalty=50.0), pairs) == losses(DPO(beta=0.2), pairs)


def test_accuracy_is_that_of_dpo_whatever_the_penalty() -> None:
    assert accuracies(DPOP(), ratio_pairs([(1, 0), (0, 1), (0, 0), (-1, -2)])) == [1, 0, 0, 1]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"dpop: beta must be positive and finite, got {beta}"):
        DPOP(beta=beta)


@pytest.mark.parametrize("penalty", [-0.1, float("nan"), float("inf")])
def test_the_penalty_must_not_be_negative(penalty: float) -> None:
    with pytest.raises(ConfigError, match=f"dpop: penalty must be at least 0 and finite, got {penalty}"):
        DPOP(penalty=penalty)
