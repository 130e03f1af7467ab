"""Losses on single completions against a formula written in NumPy: values, and gradients by central differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from loss_batches import Numbers, evaluate, gradient, make_examples

_STEP = 1e-5


@dataclass(frozen=True)
class Row:
    """One completion, in float64: what the oracle is told."""

    policy: Numbers
    reference: Numbers
    collision: Numbers
    kl: Numbers
    value: Numbers
    reward: Numbers
    desirable: bool
    score: float

    @property
    def ratio(self) -> float:
        """log p_policy(y|x) - log p_reference(y|x)."""
        return float(self.policy.sum() - self.reference.sum())


Oracle = Callable[[Sequence[Row], Sequence[Row]], Numbers]
"""
The losses of the first rows. The second are the same rows as they were before a central difference moved them: what
carries no gradient is computed from those.
"""


def assert_agrees(
    loss: Any, oracle: Oracle, *, seed: int, moved: Sequence[str] = ("policy",), num: int = 7, **settings: Any
) -> None:
    """
    Assert values, and the gradients of a random mixture of them, on a random ragged batch.

    `moved` names what gradients should reach; they must reach nothing else.
    """
    examples = make_examples(num, seed=seed)
    rows = [Row(**e.completion.numbers(), desirable=e.desirable, score=e.score) for e in examples]
    mixture = np.random.default_rng(seed).normal(size=num)

    output = evaluate(loss, examples, **settings)

    np.testing.assert_allclose(output.per_example.detach().numpy(), oracle(rows, rows), rtol=1e-9, atol=1e-12)
    total = (output.per_example * torch.tensor(mixture)).sum()
    for i, example in enumerate(examples):
        for name, leaf in example.completion.leaves().items():
            [found] = gradient(total, [leaf])
            wanted = _slope(oracle, rows, i, name, mixture) if name in moved else np.zeros(leaf.shape)
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-8, err_msg=f"{name} of row {i}")


def _slope(oracle: Oracle, rows: Sequence[Row], i: int, name: str, mixture: Numbers) -> Numbers:
    """d (mixture . losses) / d (each token's `name` in row i)."""
    slopes = np.zeros(len(getattr(rows[i], name)))
    for t in range(len(slopes)):
        ends = []
        for side in (-1, 1):
            there = getattr(rows[i], name).copy()
            there[t] += side * _STEP
            moved = [replace(row, **{name: there}) if k == i else row for k, row in enumerate(rows)]
            ends.append(float(mixture @ oracle(moved, rows)))
        slopes[t] = (ends[1] - ends[0]) / (2 * _STEP)
    return slopes
