"""SPPO, against sums done by hand and against the paper's formula written out in NumPy."""

import pytest

from haloes.errors import ConfigError
from haloes.losses.sppo import SPPO
from pair_checks import Tokens, accuracies, assert_agrees, log_ratio, losses, ratio_pairs, slopes


def test_worked_example() -> None:
    # 1 / (2 * 0.1) = 5: (12 - 5)^2 + (2 + 5)^2.
    assert losses(SPPO(beta=0.1), ratio_pairs([(12, 2)])) == pytest.approx([98])


def test_worked_gradient() -> None:
    # 2 * (12 - 5) and 2 * (2 + 5).
    assert slopes(SPPO(beta=0.1), ratio_pairs([(12, 2)])) == [(pytest.approx([14]), pytest.approx([14]))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("eta", [2.0, 100.0])
def test_values_and_gradients_are_those_of_the_papers_formula_with_certain_wins(eta: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        wins = {"chosen": 1.0, "rejected": 0.0}
        better = (log_ratio(chosen) - eta * (wins["chosen"] - 0.5)) ** 2
        return better + (log_ratio(rejected) - eta * (wins["rejected"] - 0.5)) ** 2

    assert_agrees(SPPO(beta=1 / eta), oracle, seed=seed)


def test_nothing_is_left_to_do_where_both_rewards_are_at_their_targets() -> None:
    assert losses(SPPO(beta=0.25), ratio_pairs([(2, -2)])) == pytest.approx([0])
    assert slopes(SPPO(beta=0.25), ratio_pairs([(2, -2)])) == [(pytest.approx([0]), pytest.approx([0]))]


def test_turning_the_pair_and_its_rewards_changes_nothing() -> None:
    straight, turned = losses(SPPO(), ratio_pairs([(3, -1), (1, -3)]))

    assert straight == pytest.approx(turned)


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(SPPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"sppo: beta must be positive and finite, got {beta}"):
        SPPO(beta=beta)
