"""LD-DPO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.dpo import DPO
from haloes.losses.ld_dpo import LDDPO
from loss_batches import Numbers, make_batch, side_of
from pair_checks import Tokens, accuracies, assert_agrees, losses, pair, ragged_pairs, ratio_pairs, slopes

LONGER = pair(side_of([-1.0] * 4, [-2.0, -3.0, -4.0, -5.0]), side_of([-3.0, -3.0], [-2.5, -2.5]))
"""Log-ratios 1, 2, 3, 4 of the chosen tokens and -1/2, -1/2 of the rejected ones."""


def test_worked_example() -> None:
    # (1 + 2) + 0.5 * (3 + 4) = 6.5 against -1: a margin of 0.75.
    assert losses(LDDPO(beta=0.1, alpha=0.5), [LONGER]) == pytest.approx([log(1 + exp(-0.75))], rel=1e-14)


def test_worked_example_of_a_longer_rejected_completion() -> None:
    turned = pair(LONGER.rejected, LONGER.completion)

    assert losses(LDDPO(beta=0.1, alpha=0.5), [turned]) == pytest.approx([log(1 + exp(0.75))], rel=1e-14)


def test_the_gradient_is_discounted_from_the_first_token_that_the_shorter_completion_does_not_have() -> None:
    slope = 0.1 / (1 + exp(0.75))

    found = slopes(LDDPO(beta=0.1, alpha=0.5), [LONGER])

    assert found == [(pytest.approx([-slope, -slope, -slope / 2, -slope / 2]), pytest.approx([slope, slope]))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "alpha"), [(0.1, 0.5), (1.0, 0.1)])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, alpha: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        shared = min(len(chosen["policy"]), len(rejected["policy"]))

        def likelihood(logps: Numbers) -> float:
            return logps[:shared].sum() + alpha * logps[shared:].sum()

        rewards = [likelihood(side["policy"]) - likelihood(side["reference"]) for side in (chosen, rejected)]
        return float(np.logaddexp(0, -beta * (rewards[0] - rewards[1])))

    assert_agrees(LDDPO(beta=beta, alpha=alpha), oracle, seed=seed)


def test_with_alpha_1_it_is_dpo() -> None:
    pairs = ragged_pairs(3)

    assert losses(LDDPO(beta=0.3, alpha=1), pairs) == pytest.approx(losses(DPO(beta=0.3), pairs), rel=1e-14)


def test_completions_of_one_length_make_it_dpo_whatever_alpha() -> None:
    pairs = ratio_pairs([(3, 1), (-2, 5)])

    assert losses(LDDPO(beta=0.3, alpha=0.2), pairs) == losses(DPO(beta=0.3), pairs)


def test_with_alpha_0_tokens_beyond_the_shorter_completion_do_not_matter() -> None:
    other = pair(side_of([-1.0, -1.0, -9.0], [-2.0, -3.0, -0.5]), LONGER.rejected)

    assert losses(LDDPO(alpha=0), [other]) == losses(LDDPO(alpha=0), [LONGER])


def test_the_references_sums_alone_are_not_enough() -> None:
    with pytest.raises(MissingInputError, match="tokens"):
        LDDPO()(make_batch([LONGER], Needs(pairs=True, reference=True)))


def test_accuracy_is_by_the_discounted_rewards() -> None:
    # Undiscounted the chosen completion loses by -0.9 to -0.5, discounted by half it wins by -0.4 to -0.5.
    chosen = side_of([-1.0, -2.0], [-1.1, -1.0])
    rejected = side_of([-1.5], [-1.0])

    assert accuracies(LDDPO(alpha=0.5), [pair(chosen, rejected), LONGER]) == [1, 1]
    assert accuracies(LDDPO(alpha=1.0), [pair(chosen, rejected), LONGER]) == [0, 1]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"ld_dpo: beta must be positive and finite, got {beta}"):
        LDDPO(beta=beta)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_must_be_a_share(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"ld_dpo: alpha must be from 0 to 1, got {alpha}"):
        LDDPO(alpha=alpha)
