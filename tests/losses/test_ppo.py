"""Offline PPO, against sums done by hand and against the paper's formula written out in NumPy."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Needs
from haloes.losses.ppo import PPO
from loss_batches import Example, Numbers, Side, evaluate, gradient, make_batch, ratio_side, side_of
from loss_oracles import Row, assert_agrees


def example(side: Side, *, desirable: bool) -> Example:
    return Example(side, desirable, 0.0, side)


def with_ratios(*ratios: float) -> Side:
    """A completion whose tokens are so many times as likely as under the reference."""
    return side_of([log(ratio) - 3 for ratio in ratios], [-3.0] * len(ratios))


def formula(low: float, high: float) -> object:
    """Section 3.3: -E[min(q A, clip(q) A)], A = +1 or -1 at every token, averaged within each completion."""

    def losses(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        found = []
        for row in rows:
            q = np.exp(row.policy - row.reference)
            advantage = 1.0 if row.desirable else -1.0
            found.append(-np.minimum(q * advantage, np.clip(q, low, high) * advantage).mean())
        return np.array(found)

    return losses


def test_worked_example() -> None:
    # Desirable: min(q, 4) of 0.5, 2, 8 is 0.5, 2, 4: -6.5 / 3. Undesirable: max(q, 0.25) of 0.125, 3: 3.25 / 2.
    found = evaluate(
        PPO(), [example(with_ratios(0.5, 2, 8), desirable=True), example(with_ratios(0.125, 3), desirable=False)]
    )

    assert found.per_example.tolist() == pytest.approx([-6.5 / 3, 3.25 / 2], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("low", "high"), [(0.25, 4.0), (0.8, 1.2)])
def test_values_and_gradients_are_those_of_the_papers_formula(seed: int, low: float, high: float) -> None:
    assert_agrees(PPO(low=low, high=high), formula(low, high), seed=seed)  # type: ignore[arg-type]


def test_a_completions_length_does_not_change_its_weight() -> None:
    short = evaluate(PPO(), [example(with_ratios(2.0), desirable=True)])
    long = evaluate(PPO(), [example(with_ratios(2.0, 2.0, 2.0, 2.0), desirable=True)])

    assert short.per_example.item() == pytest.approx(long.per_example.item(), rel=1e-14)


def test_the_first_step_costs_minus_one_for_desirable_and_one_for_undesirable_completions() -> None:
    same = with_ratios(1.0, 1.0)

    found = evaluate(PPO(), [example(same, desirable=True), example(same, desirable=False)])

    assert found.per_example.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(("ratio", "desirable"), [(4.01, True), (0.24, False)])
def test_past_the_clip_a_token_teaches_nothing(ratio: float, desirable: bool) -> None:
    side = with_ratios(ratio)

    [slope] = gradient(evaluate(PPO(), [example(side, desirable=desirable)]).per_example.sum(), [side.policy])

    assert slope.tolist() == [0.0]


@pytest.mark.parametrize(("ratio", "desirable", "slope"), [(0.01, True, -0.01), (100.0, False, 100.0)])
def test_the_clip_never_stops_a_token_on_its_way_back(ratio: float, desirable: bool, slope: float) -> None:
    side = with_ratios(ratio)

    [found] = gradient(evaluate(PPO(), [example(side, desirable=desirable)]).per_example.sum(), [side.policy])

    assert found.tolist() == pytest.approx([slope], rel=1e-12)


def test_the_share_of_clipped_tokens_is_logged() -> None:
    # Desirable: one of three above 4. Undesirable: 5 is above 4, but only what is below 0.25 counts: one of two.
    examples = [example(with_ratios(0.1, 1, 5), desirable=True), example(with_ratios(0.1, 5), desirable=False)]

    assert evaluate(PPO(), examples).metrics["clipped"].tolist() == pytest.approx([1 / 3, 1 / 2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("desirable", [True, False])
@pytest.mark.parametrize("far", [-1000.0, 1000.0])
def test_absurd_ratios_stay_finite(dtype: torch.dtype, desirable: bool, far: float) -> None:
    side = ratio_side(far, dtype=dtype)
    output = evaluate(PPO(), [example(side, desirable=desirable)])
    [slope] = gradient(output.per_example.sum(), [side.policy])

    assert output.per_example.isfinite().all()
    assert slope.isfinite().all()


def test_the_references_sums_are_not_enough() -> None:
    batch = make_batch([example(with_ratios(1.0), desirable=True)], Needs(reference=True))

    with pytest.raises(MissingInputError, match="of tokens"):
        PPO()(batch)  # type: ignore[arg-type]


@pytest.mark.parametrize(("low", "high"), [(-0.1, 4), (1.0, 4), (0.25, 1.0), (0.25, float("inf")), (float("nan"), 4)])
def test_the_clip_must_enclose_the_ratio_of_an_unchanged_policy(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=f"ppo: low and high must be finite, .* got {low} and {high}"):
        PPO(low=low, high=high)


def test_the_defaults_are_the_papers() -> None:
    assert PPO() == PPO(low=0.25, high=4.0)
