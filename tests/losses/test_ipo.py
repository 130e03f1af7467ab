"""IPO, against sums done by hand and against the paper's formula written out in NumPy."""

import pytest

from haloes.errors import ConfigError
from haloes.losses.ipo import IPO
from loss_batches import side_of
from pair_checks import accuracies, assert_agrees, log_ratio, losses, pair, ratio_pairs, slopes


def test_worked_example() -> None:
    # The margin aimed at is 1 / (2 * 0.1) = 5. The margins are 12 - 2 = 10 and -3 - 1 = -4: 5^2 and (-9)^2.
    assert losses(IPO(beta=0.1), ratio_pairs([(12, 2), (-3, 1)])) == pytest.approx([25, 81])


def test_worked_gradient() -> None:
    # d/dD (D - 5)^2 = 2 (D - 5) = 10 for the chosen completion and -10 for the other.
    assert slopes(IPO(beta=0.1), ratio_pairs([(12, 2)])) == [(pytest.approx([10]), pytest.approx([-10]))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.05, 0.7])
def test_values_and_gradients_are_those_of_equation_17(beta: float, seed: int) -> None:
    assert_agrees(IPO(beta=beta), lambda c, r: (log_ratio(c) - log_ratio(r) - 1 / (2 * beta)) ** 2, seed=seed)


def test_a_margin_beyond_its_target_costs_as_much_as_one_short_of_it() -> None:
    beyond, short = losses(IPO(beta=0.25), ratio_pairs([(3, 0), (1, 0)]))  # the target is 2

    assert beyond == short == pytest.approx(1)


def test_log_ratios_are_summed_over_tokens_not_averaged() -> None:
    # Sums: (2 + 2) - 1 = 3, so (3 - 5)^2 = 4; averages would give (2 - 1 - 5)^2 = 16.
    chosen, rejected = side_of([-1.0, -1.0], [-3.0, -3.0]), side_of([-1.0], [-2.0])

    assert losses(IPO(beta=0.1), [pair(chosen, rejected)]) == pytest.approx([4])


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(IPO(), ratio_pairs([(1, 0), (0, 1), (0, 0), (9, 0)])) == [1, 0, 0, 1]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"ipo: beta must be positive and finite, got {beta}"):
        IPO(beta=beta)
