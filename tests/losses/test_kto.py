"""KTO, against sums done by hand and against the paper's formula written out in NumPy."""

from itertools import pairwise
from math import exp

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Logps, LossOutput, Scored, Unpaired
from haloes.losses.kto import KTO
from loss_batches import of_ratios

Numbers = NDArray[np.float64]


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def evaluate(
    loss: KTO, *, desirable: list[float], undesirable: list[float], mismatched: list[float]
) -> tuple[LossOutput, torch.Tensor]:
    """The loss on completions of one token with these log-ratios to the reference, and the tokens."""
    ratios = torch.tensor([*desirable, *undesirable], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([True] * len(desirable) + [False] * len(undesirable))
    completions = Scored(Logps(ratios, torch.ones(len(ratios), dtype=torch.int64)), torch.zeros_like(ratios))
    return loss(Unpaired(completions, labels, of_ratios(mismatched))), ratios


def losses(loss: KTO, *, desirable: list[float], undesirable: list[float], mismatched: list[float]) -> list[float]:
    output, _ = evaluate(loss, desirable=desirable, undesirable=undesirable, mismatched=mismatched)
    return output.per_example.tolist()


def slopes(loss: KTO, *, desirable: list[float], undesirable: list[float], mismatched: list[float]) -> list[float]:
    """The derivative of the summed loss by each log-ratio."""
    output, ratios = evaluate(loss, desirable=desirable, undesirable=undesirable, mismatched=mismatched)
    [found] = torch.autograd.grad(output.per_example.sum(), ratios)
    return found.tolist()


def paper(
    r: Numbers, desirable: NDArray[np.bool_], mismatched: Numbers, *, beta: float, lambda_d: float, lambda_u: float
) -> tuple[Numbers, Numbers]:
    """
    Loss and dL/dr of each example, from the ICML text: eq. 8, L = lambda_y - v(x, y), and appendix A, eq. 10.

    The gradient of v = lambda sigmoid(beta u) by u is lambda beta sigmoid(beta u) (1 - sigmoid(beta u)), with
    u = r - z0 for a desirable example and u = z0 - r for an undesirable one; z0 has no gradient.
    """
    z0 = max(0.0, float(np.sum(mismatched)) / len(mismatched))
    value, slope = np.zeros(len(r)), np.zeros(len(r))
    for i in range(len(r)):
        weight = lambda_d if desirable[i] else lambda_u
        direction = 1 if desirable[i] else -1
        s = 1 / (1 + np.exp(-beta * direction * (r[i] - z0)))
        value[i] = weight - weight * s
        slope[i] = -direction * weight * beta * s * (1 - s)
    return value, slope


def test_worked_example() -> None:
    # The reference point is mean(1, 3) = 2. Desirable: beta * (12 - 2) = 1. Undesirable: beta * (2 - -3) = 0.5.
    found = losses(KTO(beta=0.1), desirable=[12.0], undesirable=[-3.0], mismatched=[1.0, 3.0])

    assert found == pytest.approx([1 - sigmoid(1.0), 1 - sigmoid(0.5)], rel=1e-14)


def test_worked_gradient() -> None:
    # As above: -beta s(1) s(-1) for the desirable completion, +beta s(0.5) s(-0.5) for the undesirable one.
    found = slopes(KTO(beta=0.1), desirable=[12.0], undesirable=[-3.0], mismatched=[1.0, 3.0])

    assert found == pytest.approx([-0.1 * sigmoid(1) * sigmoid(-1), 0.1 * sigmoid(0.5) * sigmoid(-0.5)], rel=1e-14)


def test_each_weight_scales_its_own_label() -> None:
    one = losses(KTO(), desirable=[2.0], undesirable=[2.0], mismatched=[1.0])
    found = losses(
        KTO(desirable_weight=3.0, undesirable_weight=5.0), desirable=[2.0], undesirable=[2.0], mismatched=[1.0]
    )

    assert found == pytest.approx([3 * one[0], 5 * one[1]], rel=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    beta, lambda_d, lambda_u = (float(x) for x in rng.uniform(0.05, 2.0, 3))
    lengths = rng.integers(1, 9, 12)
    tokens = -rng.exponential(2.0, int(lengths.sum()))
    reference = np.array([part.sum() for part in np.split(tokens, np.cumsum(lengths)[:-1])]) + rng.normal(0, 5, 12)
    desirable = rng.random(12) < 0.5
    mismatched = rng.normal(1.0, 4.0, 20)
    policy = torch.tensor(tokens, requires_grad=True)
    batch = Unpaired(
        Scored(Logps(policy, torch.tensor(lengths)), torch.tensor(reference)),
        torch.tensor(desirable),
        of_ratios(mismatched),
    )

    output = KTO(beta=beta, desirable_weight=lambda_d, undesirable_weight=lambda_u)(batch)

    r = np.array([part.sum() for part in np.split(tokens, np.cumsum(lengths)[:-1])]) - reference
    value, slope = paper(r, desirable, mismatched, beta=beta, lambda_d=lambda_d, lambda_u=lambda_u)
    np.testing.assert_allclose(output.per_example.detach().numpy(), value, rtol=1e-9, atol=1e-12)
    [gradient] = torch.autograd.grad(output.per_example.sum(), policy)
    np.testing.assert_allclose(gradient.numpy(), np.repeat(slope, lengths), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("num_desirable", "num_undesirable"), [(1, 0), (0, 1), (3, 5), (31, 1)])
def test_the_first_step_costs_half_of_the_mean_weight_exactly(num_desirable: int, num_undesirable: int) -> None:
    # The policy is the reference: every log-ratio is 0, so is the reference point, and sigmoid(0) is exactly 1/2.
    loss = KTO(desirable_weight=1.25, undesirable_weight=0.75)
    num = num_desirable + num_undesirable

    found = losses(loss, desirable=[0.0] * num_desirable, undesirable=[0.0] * num_undesirable, mismatched=[0.0] * num)

    assert sum(found) / num == (1.25 * num_desirable + 0.75 * num_undesirable) / (2 * num)


def test_a_negative_reference_point_counts_as_zero() -> None:
    below = losses(KTO(), desirable=[1.0], undesirable=[1.0], mismatched=[-5.0])
    zero = losses(KTO(), desirable=[1.0], undesirable=[1.0], mismatched=[0.0])

    assert below == zero


def test_the_reference_point_is_clamped_once_after_averaging() -> None:
    # mean(-3, 1) = -1, so z0 is 0; the mean of the clamped would be 0.5.
    found = losses(KTO(beta=1.0), desirable=[2.0], undesirable=[], mismatched=[-3.0, 1.0])

    assert found == pytest.approx([1 - sigmoid(2.0)], rel=1e-14)


def test_the_reference_point_is_the_mean_over_all_mismatched_completions_of_the_step() -> None:
    # mean(0, 0, 0, 8) = 2, for each of the two examples of this batch.
    found = losses(KTO(beta=1.0), desirable=[2.0], undesirable=[2.0], mismatched=[0.0, 0.0, 0.0, 8.0])

    assert found == [0.5, 0.5]


def test_a_mismatched_completion_without_a_number_is_not_hidden() -> None:
    found = losses(KTO(), desirable=[1.0], undesirable=[1.0], mismatched=[1.0, float("nan")])

    assert all(np.isnan(found))


def test_without_mismatched_completions_there_is_no_reference_point() -> None:
    with pytest.raises(MissingInputError, match="mismatched"):
        losses(KTO(), desirable=[1.0], undesirable=[], mismatched=[])


@pytest.mark.parametrize("far", [-1.0, 1.0])
def test_the_gradient_vanishes_as_the_reward_goes_to_either_infinity(far: float) -> None:
    # Proposition 4.1. At a distance of 1000 nats and beta = 1, sigmoid(z) sigmoid(-z) is about e^-1000 = 0.
    near = slopes(KTO(beta=1.0), desirable=[0.0], undesirable=[0.0], mismatched=[0.0])
    steps = [
        np.abs(slopes(KTO(beta=1.0), desirable=[far * at], undesirable=[far * at], mismatched=[0.0]))
        for at in (0.0, 1.0, 10.0, 100.0)
    ]
    at_infinity = slopes(KTO(beta=1.0), desirable=[far * 1000], undesirable=[far * 1000], mismatched=[0.0])

    assert near == [-0.25, 0.25]
    assert all((further < nearer).all() for nearer, further in pairwise(steps))
    assert at_infinity == [0.0, 0.0]


def test_the_value_is_logged_between_zero_and_one() -> None:
    output, _ = evaluate(KTO(beta=0.1), desirable=[12.0], undesirable=[-3.0], mismatched=[1.0, 3.0])

    assert output.metrics["value"].tolist() == pytest.approx([sigmoid(1.0), sigmoid(0.5)], rel=1e-14)


@pytest.mark.parametrize("weights", [{"desirable_weight": "auto"}, {"undesirable_weight": "auto"}])
def test_weights_left_to_the_data_must_be_known_before_use(weights: dict[str, str]) -> None:
    loss = KTO(**weights)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r'still "auto".*with_weights'):
        losses(loss, desirable=[0.0], undesirable=[0.0], mismatched=[0.0])


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"kto: beta must be positive and finite, got {beta}"):
        KTO(beta=beta)


@pytest.mark.parametrize("name", ["desirable_weight", "undesirable_weight"])
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "Auto"])
def test_weights_must_be_numbers_of_at_least_zero(name: str, weight: object) -> None:
    with pytest.raises(ConfigError, match=f'kto: {name} must be a number of at least 0, or "auto", got {weight}'):
        KTO(**{name: weight})  # type: ignore[arg-type]


def test_the_defaults_are_the_papers() -> None:
    assert KTO() == KTO(beta=0.1, desirable_weight=1.0, undesirable_weight=1.0)
