"""Theorem 4.2, on rewards made up at random."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from haloes.recipes.theory.same_preferences import REFERENCE_XY, REWARD_XY, SHIFT_X, consequences, lines

numbers = st.floats(-3, 3)


@given(st.lists(numbers, min_size=6, max_size=6), st.lists(numbers, min_size=2, max_size=2))
def test_a_shift_by_prompt_changes_neither_policy_nor_preferences(reward: list[float], shift: list[float]):
    reward_XY = torch.tensor(reward, dtype=torch.float64).reshape(2, 3)
    shift_X = torch.tensor(shift, dtype=torch.float64)
    ours, shifted = consequences(reward_XY), consequences(reward_XY + shift_X[:, None])

    assert torch.allclose(ours.policy_XY, shifted.policy_XY, rtol=1e-12, atol=0)
    assert torch.allclose(ours.preference_XYY, shifted.preference_XYY, rtol=1e-12, atol=0)
    # The outcome of prompt x moves by h(x) less the mean of h: values stay as they are only for a constant h.
    outcome_XY, outcome_shifted_XY = torch.logit(ours.value_XY), torch.logit(shifted.value_XY)
    moved_XY = (shift_X - shift_X.mean())[:, None].expand(2, 3)
    assert torch.allclose(outcome_shifted_XY - outcome_XY, moved_XY, atol=1e-6)


def test_policy_and_preferences_are_those_of_the_formulas():
    reference, reward = REFERENCE_XY.numpy(), REWARD_XY.numpy()
    made = consequences(REWARD_XY, beta=0.5)

    tilted = reference * np.exp(reward / 0.5)
    policy = tilted / tilted.sum(1, keepdims=True)
    np.testing.assert_allclose(made.policy_XY, policy, rtol=1e-12)
    np.testing.assert_allclose(
        made.preference_XYY, 1 / (1 + np.exp(reward[:, None, :] - reward[:, :, None])), rtol=1e-12
    )
    outcome = reward - (policy * reward).sum(1).mean()
    np.testing.assert_allclose(made.value_XY, 1 / (1 + np.exp(-outcome)), rtol=1e-12)


def test_the_example_shows_other_values():
    ours, shifted = consequences(REWARD_XY), consequences(REWARD_XY + SHIFT_X[:, None])

    assert (ours.value_XY - shifted.value_XY).abs().min() > 0.2
    assert any("value to the human" in line for line in lines())
