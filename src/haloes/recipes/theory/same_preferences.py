"""
Theorem 4.2: rewards that make the same preferences and the same optimal policy, but other values for the human.

Add to a reward a number h(x) that depends on the prompt alone: no preference between two answers to a prompt changes,
nor does the policy that is optimal under a KL penalty. But a human who judges an answer against a reference point that
other prompts have a part in sees it with other eyes. So making preferences likely is not making humans content
(Ethayarajh et al., ICML 2024, https://arxiv.org/abs/2402.01306, section 4.2; the reference point is version 1's, the
mean reward over prompts and the policy's answers). Everything is computed exactly, over two prompts of three answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from haloes.losses.components import Logistic
from haloes.losses.dpo import DPO
from haloes.recipes.theory.answers import compared

REFERENCE_XY = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], dtype=torch.float64)
"""p_reference(y|x) of two prompts with three answers each."""
REWARD_XY = torch.tensor([[1.0, 0.0, -1.0], [0.5, -0.5, 0.0]], dtype=torch.float64)
SHIFT_X = torch.tensor([4.0, 0.0], dtype=torch.float64)
"""h(x)."""


@dataclass(frozen=True, slots=True)
class Consequences:
    """Policy, preferences and values that follow from a reward, at each prompt X and answer Y."""

    policy_XY: Tensor
    """The policy that is optimal for the reward less beta KL(policy || reference)."""
    preference_XYY: Tensor
    """The Bradley-Terry probability that the first answer is preferred to the second."""
    value_XY: Tensor
    """The human's value of an answer: a logistic of its reward less the reference point."""


def consequences(reward_XY: Tensor, reference_XY: Tensor = REFERENCE_XY, *, beta: float = 1.0) -> Consequences:
    """Return the optimal policy, preferences and values of a reward; prompts are equally frequent."""
    policy_XY = torch.softmax(reference_XY.log() + reward_XY / beta, dim=1)
    chosen_XYY = reward_XY[:, :, None].expand(-1, -1, reward_XY.shape[1])
    # DPO's loss is -log of the Bradley-Terry probability, of the rewards that it is given.
    negative = DPO(beta=1.0)(compared(chosen_XYY.reshape(-1), chosen_XYY.mT.reshape(-1))).per_example
    reference_point = (policy_XY * reward_XY).sum(1).mean()
    outcome_XY = reward_XY - reference_point
    value_XY = Logistic(beta=1.0)(outcome_XY, torch.ones_like(outcome_XY, dtype=torch.bool))
    return Consequences(policy_XY, (-negative).exp().reshape(chosen_XYY.shape), value_XY)


def lines() -> Iterator[str]:
    """Yield both rewards and their consequences, as lines of a table."""
    made = consequences(REWARD_XY), consequences(REWARD_XY + SHIFT_X[:, None])
    yield "Two prompts of three answers. Reward b is reward a plus h(x), which is 4 for the"
    yield "first prompt and 0 for the second."
    yield ""
    yield _line("", ["reward a", "reward b"])
    for x in range(len(SHIFT_X)):
        yield _line(f"prompt {x + 1}: optimal policy", [_row(one.policy_XY[x]) for one in made])
        yield _line("  first beats second with", [_row(one.preference_XYY[x, 0, 1:2]) for one in made])
        yield _line("  value to the human", [_row(one.value_XY[x]) for one in made])
    yield ""
    yield "Policies and preferences are the same. Values are not: they depend on h, of which"
    yield "preferences show nothing."


def _line(name: str, columns: list[str]) -> str:
    return f"{name:26}" + "".join(f"{column:>24}" for column in columns)


def _row(values: Tensor) -> str:
    return "  ".join(f"{value:.3f}" for value in values.tolist())
