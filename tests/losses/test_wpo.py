"""WPO, against sums done by hand and against the paper's formula written out in NumPy."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses.dpo import DPO
from haloes.losses.wpo import WPO
from loss_batches import Side, evaluate, gradient, side_of
from pair_checks import Tokens, accuracies, log_ratio, losses, pair, ragged_pairs, ratio_pairs, slopes

UNCAPPED = 1e9


def peaked(side: Side, collision: list[float]) -> Side:
    """The completion with these values of log sum_v p(v)^2."""
    return replace(side, collision=torch.tensor(collision, dtype=side.policy.dtype, requires_grad=True))


PAIR = pair(
    peaked(side_of([-1.0, -2.0], [-3.0, -4.0]), [-0.5, -1.5]),
    peaked(side_of([-3.0], [-1.0]), [-2.7]),
)
"""Log-ratios 4 and -2; the mean of log p - log sum p^2 is -0.5 for the chosen and -0.3 for the rejected completion."""


def test_worked_example() -> None:
    # The weight is e^(-0.5 - 0.3), the margin 0.1 * (4 + 2).
    assert losses(WPO(beta=0.1), [PAIR]) == pytest.approx([exp(-0.8) * log(1 + exp(-0.6))], rel=1e-14)


def test_worked_gradient() -> None:
    # The weight is a constant: the slope is DPO's, times it.
    slope = exp(-0.8) * 0.1 / (1 + exp(0.6))

    assert slopes(WPO(beta=0.1), [PAIR]) == [(pytest.approx([-slope, -slope]), pytest.approx([slope]))]


def weight(chosen: Tokens, rejected: Tokens, cap: float) -> float:
    """Eq. 2 on both sides, each token's probability divided by the sum of the squares of all."""
    means = [np.mean(np.log(np.exp(side["policy"]) / np.exp(side["collision"]))) for side in (chosen, rejected)]
    return float(min(cap, np.exp(means[0]) * np.exp(means[1])))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("beta", "cap"), [(0.1, UNCAPPED), (1.0, 1.0), (0.5, 0.3)])
def test_values_and_gradients_are_those_of_the_papers_formula(beta: float, cap: float, seed: int) -> None:
    def plain(chosen: Tokens, rejected: Tokens) -> float:
        return float(np.logaddexp(0, -beta * (log_ratio(chosen) - log_ratio(rejected))))

    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        return float(weight(chosen, rejected, cap) * plain(chosen, rejected))

    for example in ragged_pairs(seed):
        chosen, rejected = example.completion.numbers(), example.rejected.numbers()
        [(to_chosen, to_rejected)] = slopes(WPO(beta=beta, cap=cap), [example])
        # With the weight w held fixed, d(w log(1 + e^-m))/dm = -w / (1 + e^m).
        slope = weight(chosen, rejected, cap) * beta / (1 + np.exp(beta * (log_ratio(chosen) - log_ratio(rejected))))
        assert losses(WPO(beta=beta, cap=cap), [example]) == pytest.approx([oracle(chosen, rejected)], rel=1e-12)
        assert to_chosen == pytest.approx([-slope] * len(to_chosen), rel=1e-12)
        assert to_rejected == pytest.approx([slope] * len(to_rejected), rel=1e-12)


def test_a_policy_sure_of_both_completions_makes_it_dpo() -> None:
    # With p(y_t) = sum_v p(v)^2 at every token, the weight of the policy's own typical sample, w is 1.
    pairs = [
        pair(*(peaked(side, side.policy.tolist()) for side in (example.completion, example.rejected)))
        for example in ragged_pairs(2)
    ]

    assert losses(WPO(beta=0.3), pairs) == pytest.approx(losses(DPO(beta=0.3), pairs))


def test_no_pair_weighs_more_than_the_cap() -> None:
    likely = pair(peaked(side_of([-0.1], [-0.1]), [-2.0]), peaked(side_of([-0.1], [-0.1]), [-2.0]))  # w = e^3.8

    capped, loose = (evaluate(WPO(cap=cap), [likely, PAIR]).metrics["weight"].tolist() for cap in (1.0, UNCAPPED))

    assert capped == pytest.approx([1, exp(-0.8)])
    assert loose == pytest.approx([exp(3.8), exp(-0.8)])


def test_no_gradient_flows_through_the_weight() -> None:
    output = evaluate(WPO(), [PAIR])

    assert not output.metrics["weight"].requires_grad
    found = gradient(output.per_example.sum(), [PAIR.completion.collision, PAIR.rejected.collision])
    assert not any(bool(to.any()) for to in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_weight_that_would_overflow_is_the_cap(dtype: torch.dtype) -> None:
    side = peaked(side_of([-1.0], [-1.0], dtype=dtype), [-1000.0])

    assert losses(WPO(), [pair(side, side)]) == pytest.approx([log(2)])


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    assert accuracies(WPO(), ratio_pairs([(1, 0), (0, 1), (0, 0)])) == [1, 0, 0]


@pytest.mark.parametrize("field", ["beta", "cap"])
@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf")])
def test_beta_and_cap_must_be_positive(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"wpo: {field} must be positive and finite, got {value}"):
        WPO(**{field: value})
