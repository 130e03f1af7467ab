"""Offline PPO with a value head, against sums done by hand and against loops over tokens in NumPy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses.ppo import PPO
from haloes.losses.ppo_value import PPOValue
from loss_batches import Example, Numbers, Side, evaluate, gradient, ratio_side, side_of
from loss_oracles import Oracle, Row, assert_agrees


def example(ratios: Sequence[float], values: Sequence[float], *, desirable: bool) -> Example:
    """A completion whose tokens have these log-ratios and value estimates."""
    side = side_of([ratio - 3 for ratio in ratios], [-3.0] * len(ratios))
    side = replace(side, value=torch.tensor(values, dtype=torch.float64, requires_grad=True))
    return Example(side, desirable, 0.0, side)


def formula(loss: PPOValue) -> Oracle:
    """Backwards through each completion, as textbooks have it; the estimates within the advantage stand still."""

    def losses(rows: Sequence[Row], still: Sequence[Row]) -> Numbers:
        return np.array([one(row, before) for row, before in zip(rows, still, strict=True)])

    def one(row: Row, before: Row) -> float:
        total, advantage, to_come, next_value = 0.0, 0.0, 0.0, 0.0
        for t in reversed(range(len(row.policy))):
            reward = (1.0 if row.desirable else -1.0) if t == len(row.policy) - 1 else 0.0
            error = reward + loss.gamma * next_value - before.value[t]
            advantage = error + loss.gamma * loss.trace_decay * advantage
            to_come = reward + loss.gamma * to_come
            next_value = before.value[t]
            q = np.exp(row.policy[t] - row.reference[t])
            total -= min(q * advantage, np.clip(q, loss.low, loss.high) * advantage)
            total += loss.critic_coef * (row.value[t] - to_come) ** 2
            total += loss.kl_coef * (row.reference[t] - row.policy[t])
        return total / len(row.policy)

    return losses


def test_worked_example() -> None:
    # gamma = 0.5, lambda = 0.5, V = (0.4, 0.2), R = (0, 1). Errors: 0 + 0.5 * 0.2 - 0.4 = -0.3 and 1 - 0.2 = 0.8.
    # A = (-0.3 + 0.25 * 0.8, 0.8) = (-0.1, 0.8); G = (0.5, 1). At q = 1 the clipped term is -A: 0.1 and -0.8.
    # Critic: (0.4 - 0.5)^2 + (0.2 - 1)^2 = 0.65. KL: 0. Mean: (0.1 - 0.8 + 0.1 * 0.65) / 2 = -0.3175.
    loss = PPOValue(gamma=0.5, trace_decay=0.5, critic_coef=0.1, kl_coef=0.7)

    output = evaluate(loss, [example([0.0, 0.0], [0.4, 0.2], desirable=True)])

    assert output.per_example.tolist() == pytest.approx([-0.3175], rel=1e-12)
    assert output.metrics["critic_error"].tolist() == pytest.approx([0.325], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [PPOValue(), PPOValue(gamma=0.7, trace_decay=0.4, critic_coef=1.0, kl_coef=0.5)])
def test_values_and_gradients_are_those_of_a_loop_over_tokens(seed: int, loss: PPOValue) -> None:
    assert_agrees(loss, formula(loss), seed=seed, moved=("policy", "value"))


def test_a_long_completion_among_short_ones_is_summed_to_its_end_and_no_further() -> None:
    rng = np.random.default_rng(3)
    loss = PPOValue()
    lengths = (1, 37, 2, 64)
    examples = [
        example(rng.normal(0, 0.3, n).tolist(), rng.normal(0, 1, n).tolist(), desirable=n != 37) for n in lengths
    ]
    rows = [Row(**e.completion.numbers(), desirable=e.desirable, score=0.0) for e in examples]

    output = evaluate(loss, examples)

    np.testing.assert_allclose(output.per_example.detach().numpy(), formula(loss)(rows, rows), rtol=1e-10)


def test_the_policy_learns_nothing_from_the_critics_error_and_the_head_from_nothing_else() -> None:
    one = example([0.1, -0.2], [0.4, 0.2], desirable=True)
    leaves = [one.completion.policy, one.completion.value]

    with_critic = gradient(evaluate(PPOValue(), [one]).per_example.sum(), leaves)
    without = gradient(evaluate(PPOValue(critic_coef=0.0), [one]).per_example.sum(), leaves)

    assert torch.equal(with_critic[0], without[0])
    assert with_critic[1].all()
    assert not without[1].any()


def test_with_a_blank_head_and_no_discount_it_is_ppo() -> None:
    examples = [example([0.5, -1.0, 2.0], [0.0] * 3, desirable=True), example([-2.0, 0.3], [0.0] * 2, desirable=False)]
    loss = PPOValue(gamma=1.0, trace_decay=1.0, critic_coef=0.0, kl_coef=0.0)

    torch.testing.assert_close(evaluate(loss, examples).per_example, evaluate(PPO(), examples).per_example)


def test_the_kl_penalty_pulls_every_token_up_whatever_the_label() -> None:
    for desirable in (True, False):
        one = example([0.1, -0.2], [0.4, 0.2], desirable=desirable)
        policy = [one.completion.policy]

        [pulled] = gradient(evaluate(PPOValue(kl_coef=0.1), [one]).per_example.sum(), policy)
        [free] = gradient(evaluate(PPOValue(kl_coef=0.0), [one]).per_example.sum(), policy)

        assert (pulled - free).tolist() == pytest.approx([-0.05, -0.05], rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [-1000.0, 1000.0])
def test_absurd_ratios_stay_finite_and_the_precision_is_kept(dtype: torch.dtype, far: float) -> None:
    sides: list[Side] = [ratio_side(far, dtype=dtype), ratio_side(far, dtype=dtype)]
    output = evaluate(PPOValue(), [Example(sides[0], True, 0.0, sides[0]), Example(sides[1], False, 0.0, sides[1])])
    slopes = gradient(output.per_example.sum(), [side.policy for side in sides])

    assert output.per_example.dtype == dtype
    assert output.per_example.isfinite().all()
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("name", ["gamma", "trace_decay"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_discounts_must_lie_between_zero_and_one(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"ppo_value: {name} must be between 0 and 1, got {value}"):
        PPOValue(**{name: value})


@pytest.mark.parametrize("name", ["critic_coef", "kl_coef"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_coefficients_must_be_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"ppo_value: {name} must be a finite number of at least 0, got {value}"):
        PPOValue(**{name: value})


def test_the_clip_must_enclose_the_ratio_of_an_unchanged_policy() -> None:
    with pytest.raises(ConfigError, match="ppo_value: low and high must be finite"):
        PPOValue(low=2.0)


def test_the_defaults_are_the_papers() -> None:
    assert PPOValue() == PPOValue(low=0.25, high=4, gamma=0.99, trace_decay=0.95, critic_coef=0.01, kl_coef=0.1)
