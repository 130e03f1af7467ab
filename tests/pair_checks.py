"""Checks that the tests of losses on pairs share: an oracle of one pair, and its slopes by central differences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from loss_batches import Example, Numbers, Side, evaluate, gradient, make_side, ratio_side

Tokens = Mapping[str, Numbers]
"""The tokens of a completion: what `Side.numbers` gives."""

Oracle = Callable[[Tokens, Tokens], float]
"""The loss of a pair from the tokens of its chosen and of its rejected completion, in NumPy."""

STEP = 1e-5


def pair(chosen: Side, rejected: Side) -> Example:
    """An example of which only the pair matters."""
    return Example(completion=chosen, desirable=True, score=0.0, rejected=rejected)


def ratio_pairs(ratios: Sequence[tuple[float, float]], *, dtype: torch.dtype = torch.float64) -> list[Example]:
    """Pairs of one-token completions with these log-ratios to the reference, chosen first."""
    return [pair(ratio_side(chosen, dtype=dtype), ratio_side(rejected, dtype=dtype)) for chosen, rejected in ratios]


def losses(loss: Any, examples: Sequence[Example]) -> list[float]:
    """The loss of each pair."""
    values: list[float] = evaluate(loss, examples).per_example.tolist()
    return values


def accuracies(loss: Any, examples: Sequence[Example]) -> list[float]:
    """The metric "accuracy" of each pair."""
    values: list[float] = evaluate(loss, examples).metrics["accuracy"].tolist()
    return values


def slopes(loss: Any, examples: Sequence[Example]) -> list[tuple[list[float], list[float]]]:
    """What each pair's loss changes by with the policy's log-probability of each token, chosen first."""
    output = evaluate(loss, examples)
    return [
        (to_chosen.tolist(), to_rejected.tolist())
        for own, example in zip(output.per_example, examples, strict=True)
        for to_chosen, to_rejected in [gradient(own, [example.completion.policy, example.rejected.policy])]
    ]


def ragged_pairs(seed: int, num: int = 6, *, spread: float = 1.0) -> list[Example]:
    """Random pairs of completions of one to five tokens each."""
    rng = np.random.default_rng(seed)
    return [pair(make_side(rng, spread=spread), make_side(rng, spread=spread)) for _ in range(num)]


def assert_agrees(loss: Any, oracle: Oracle, *, seed: int, spread: float = 1.0) -> None:
    """The loss and its gradient at every token are the oracle's, on a random ragged batch."""
    examples = ragged_pairs(seed, spread=spread)
    found = losses(loss, examples)
    for example, value, (to_chosen, to_rejected) in zip(examples, found, slopes(loss, examples), strict=True):
        chosen, rejected = example.completion.numbers(), example.rejected.numbers()
        assert value == pytest.approx(oracle(chosen, rejected), rel=1e-10, abs=1e-12)
        assert to_chosen == pytest.approx(differences(lambda c, r=rejected: oracle(c, r), chosen), rel=1e-6, abs=1e-7)
        assert to_rejected == pytest.approx(differences(lambda r, c=chosen: oracle(c, r), rejected), rel=1e-6, abs=1e-7)


def differences(function: Callable[[Tokens], float], side: Tokens) -> NDArray[np.float64]:
    """Central differences of a function of a completion by the policy's log-probability of each token."""
    slope = np.zeros(len(side["policy"]))
    for t in range(len(slope)):
        step = np.zeros(len(slope))
        step[t] = STEP
        above = function({**side, "policy": side["policy"] + step})
        below = function({**side, "policy": side["policy"] - step})
        slope[t] = (above - below) / (2 * STEP)
    return slope


def log_ratio(side: Tokens) -> float:
    """log p_policy(y|x) - log p_reference(y|x)."""
    return float(side["policy"].sum() - side["reference"].sum())


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return float(1 / (1 + np.exp(-x)))


def assert_finite_at_extremes(loss: Any) -> None:
    """Values, metrics and gradients are finite where log-ratios and log-probabilities lie 1000 nats apart."""
    heights = (-1000.0, -30.0, 0.0, 30.0, 1000.0)
    for dtype in (torch.float32, torch.float64):
        examples = ratio_pairs([(a, b) for a in heights for b in heights], dtype=dtype)
        output = evaluate(loss, examples)
        assert output.per_example.dtype == dtype
        assert bool(output.per_example.isfinite().all())
        assert all(bool(values.isfinite().all()) for values in output.metrics.values())
        sides = [side.policy for example in examples for side in (example.completion, example.rejected)]
        assert all(bool(found.isfinite().all()) for found in gradient(output.per_example.sum(), sides))
