"""PMPO, against sums done by hand and against the paper's formula written out in NumPy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.pmpo import PMPO
from loss_batches import Example, Numbers, evaluate, make_batch, make_examples, side_of
from loss_oracles import Oracle, Row, assert_agrees


def example(policy: list[float], kl: list[float], *, desirable: bool) -> Example:
    side = side_of(policy, [-1.0] * len(policy))
    side = replace(side, kl=torch.tensor(kl, dtype=torch.float64, requires_grad=True))
    return Example(side, desirable, 0.0, side)


def formula(alpha: float, beta: float) -> Oracle:
    def losses(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        weight = [-2 * alpha if row.desirable else 2 * (1 - alpha) for row in rows]
        return np.array([w * r.policy.sum() + beta * r.kl.sum() for w, r in zip(weight, rows, strict=True)])

    return losses


def test_worked_example() -> None:
    # log p is -2 and KL 0.5. Desirable: 2 * 0.75 * 2 + 3 * 0.5 = 4.5. Undesirable: 2 * 0.25 * -2 + 3 * 0.5 = 0.5.
    tokens, kl = [-0.5, -1.5], [0.1, 0.4]

    output = evaluate(
        PMPO(alpha=0.75, beta=3.0), [example(tokens, kl, desirable=True), example(tokens, kl, desirable=False)]
    )

    assert output.per_example.tolist() == pytest.approx([4.5, 0.5], rel=1e-12)
    assert output.metrics["reference_kl"].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int) -> None:
    assert_agrees(PMPO(alpha=0.3, beta=0.8), formula(0.3, 0.8), seed=seed, moved=("policy", "kl"))


def test_with_as_many_of_each_label_the_mean_is_equation_ten() -> None:
    # -J = -alpha E_good[log p] + (1 - alpha) E_bad[log p] + beta E[KL], each expectation over its own completions.
    rng = np.random.default_rng(0)
    logps, kls = -rng.exponential(2, 6), rng.exponential(1, 6)
    examples = [example([p], [k], desirable=i < 3) for i, (p, k) in enumerate(zip(logps, kls, strict=True))]

    found = evaluate(PMPO(alpha=0.3, beta=0.8), examples).per_example.mean().item()

    assert found == pytest.approx(-0.3 * logps[:3].mean() + 0.7 * logps[3:].mean() + 0.8 * kls.mean(), rel=1e-12)


def test_learning_from_one_label_alone_leaves_the_other_to_the_kl() -> None:
    good, bad = example([-2.0], [0.5], desirable=True), example([-2.0], [0.5], desirable=False)

    assert evaluate(PMPO(alpha=1.0), [good, bad]).per_example.tolist() == [4.5, 0.5]
    assert evaluate(PMPO(alpha=0.0), [good, bad]).per_example.tolist() == [0.5, -3.5]


def test_without_the_kl_at_each_token_it_does_not_run() -> None:
    with pytest.raises(MissingInputError, match="KL divergence at each token"):
        PMPO()(make_batch(make_examples(), Needs(reference=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_must_lie_between_zero_and_one(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"pmpo: alpha must lie between 0 and 1, got {alpha}"):
        PMPO(alpha=alpha)


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"pmpo: beta must be positive and finite, got {beta}"):
        PMPO(beta=beta)
