"""DPO, against sums done by hand and against the paper's formula written out in NumPy."""

from math import exp, log

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Logps, LossOutput, Paired, Scored
from haloes.losses.dpo import DPO


def scored(ratios: torch.Tensor) -> Scored:
    """Completions of one token with these log-ratios to the reference."""
    return Scored(Logps(ratios, torch.ones(len(ratios), dtype=torch.int64)), torch.zeros_like(ratios))


def evaluate(loss: DPO, *, chosen: list[float], rejected: list[float]) -> tuple[LossOutput, torch.Tensor, torch.Tensor]:
    good = torch.tensor(chosen, dtype=torch.float64, requires_grad=True)
    bad = torch.tensor(rejected, dtype=torch.float64, requires_grad=True)
    return loss(Paired(scored(good), scored(bad))), good, bad


def test_worked_example() -> None:
    # beta * (12 - 2) = 1, beta * (-3 - 2) = -0.5; -log sigmoid(x) = log(1 + e^-x).
    output, _, _ = evaluate(DPO(beta=0.1), chosen=[12.0, -3.0], rejected=[2.0, 2.0])

    assert output.per_example.tolist() == pytest.approx([log(1 + exp(-1.0)), log(1 + exp(0.5))], rel=1e-14)


def test_worked_gradient() -> None:
    # d/dr of log(1 + e^(-beta D)) is -beta / (1 + e^(beta D)) for the chosen completion, and minus that for the other.
    output, good, bad = evaluate(DPO(beta=0.1), chosen=[12.0], rejected=[2.0])
    to_good, to_bad = torch.autograd.grad(output.per_example.sum(), (good, bad))

    assert to_good.item() == pytest.approx(-0.1 / (1 + exp(1.0)), rel=1e-14)
    assert to_bad.item() == pytest.approx(0.1 / (1 + exp(1.0)), rel=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    beta = float(rng.uniform(0.05, 2.0))
    lengths = rng.integers(1, 9, (2, 7))
    tokens = [-rng.exponential(2.0, int(side.sum())) for side in lengths]
    totals = [
        np.array([part.sum() for part in np.split(side, np.cumsum(count)[:-1])])
        for side, count in zip(tokens, lengths, strict=True)
    ]
    references = [total + rng.normal(0, 5, 7) for total in totals]
    policies = [torch.tensor(side, requires_grad=True) for side in tokens]
    sides = [
        Scored(Logps(policy, torch.tensor(count)), torch.tensor(reference))
        for policy, count, reference in zip(policies, lengths, references, strict=True)
    ]

    output = DPO(beta=beta)(Paired(*sides))

    # Eq. 7: -log sigmoid(beta log(pi(y_w)/ref(y_w)) - beta log(pi(y_l)/ref(y_l))), and the gradient below it.
    margin = beta * (totals[0] - references[0]) - beta * (totals[1] - references[1])
    np.testing.assert_allclose(output.per_example.detach().numpy(), np.log1p(np.exp(-margin)), rtol=1e-9, atol=1e-12)
    slope = beta / (1 + np.exp(margin))
    gradients = torch.autograd.grad(output.per_example.sum(), policies)
    for gradient, count, sign in zip(gradients, lengths, (-1, 1), strict=True):
        np.testing.assert_allclose(gradient.numpy(), sign * np.repeat(slope, count), rtol=1e-9, atol=1e-12)


def test_the_first_step_costs_log_two() -> None:
    output, _, _ = evaluate(DPO(), chosen=[0.0] * 3, rejected=[0.0] * 3)

    assert output.per_example.tolist() == pytest.approx([log(2)] * 3, rel=1e-15)


def test_the_gradient_does_not_vanish_for_a_pair_that_the_policy_ranks_utterly_wrong() -> None:
    # Unlike KTO's (Proposition 4.1): it approaches beta.
    output, good, bad = evaluate(DPO(beta=0.1), chosen=[-1000.0], rejected=[1000.0])
    to_good, to_bad = torch.autograd.grad(output.per_example.sum(), (good, bad))

    assert (to_good.item(), to_bad.item()) == pytest.approx((-0.1, 0.1))


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_has_the_higher_reward() -> None:
    output, _, _ = evaluate(DPO(), chosen=[1.0, 0.0, 0.0], rejected=[0.0, 1.0, 0.0])

    assert output.metrics["accuracy"].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"dpo: beta must be positive and finite, got {beta}"):
        DPO(beta=beta)


def test_the_default_is_the_papers() -> None:
    assert DPO() == DPO(beta=0.1)
