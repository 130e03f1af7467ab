"""
Proposition 4.1: as the reward of an example goes to plus or minus infinity, KTO's update of it goes to 0.

KTO learns nothing from desirable answers with hopelessly low rewards, nor from undesirable ones with very high rewards:
it takes them for noise. DPO learns the more from a pair, the wronger the model has it (Ethayarajh et al., ICML 2024,
https://arxiv.org/abs/2402.01306, section 4.1). The gradients are those of the project's losses, by autograd.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.recipes.theory.answers import compared, rated

REWARDS = (-400.0, -200.0, -100.0, -50.0, -10.0, 0.0, 10.0, 50.0, 100.0, 200.0, 400.0)


@dataclass(frozen=True, slots=True)
class Gradients:
    """d loss / d reward of one answer, at one reward."""

    reward: float
    """log p_policy - log p_reference, in nats, of an answer that is compared with one of reward 0."""
    kto_desirable: float
    kto_undesirable: float
    dpo_chosen: float
    dpo_rejected: float


def gradients(rewards: Sequence[float] = REWARDS, *, beta: float = 0.1) -> list[Gradients]:
    """Return the gradients of KTO and DPO at each of these rewards."""
    kto, dpo = KTO(beta=beta), DPO(beta=beta)
    reward_N = torch.tensor(rewards, dtype=torch.float64, requires_grad=True)
    zero_N = torch.zeros_like(reward_N)
    good_N = torch.ones(len(reward_N), dtype=torch.bool)
    outputs = (
        kto(rated(reward_N, good_N)),
        kto(rated(reward_N, ~good_N)),
        dpo(compared(reward_N, zero_N)),
        dpo(compared(zero_N, reward_N)),
    )
    columns = [_slope(output.per_example, reward_N) for output in outputs]
    return [Gradients(reward, *row) for reward, row in zip(rewards, torch.stack(columns, 1).tolist(), strict=True)]


def lines() -> Iterator[str]:
    """Yield the gradients as lines of a table."""
    yield "The gradient dL/dr of an answer by its reward r, which is compared with 0; beta 0.1:"
    yield ""
    yield f"{'r':>6} {'KTO, good':>12} {'KTO, bad':>12} {'DPO, chosen':>12} {'DPO, rejected':>14}"
    for row in gradients():
        yield (
            f"{row.reward:>6.0f} {row.kto_desirable:>12.2g} {row.kto_undesirable:>12.2g} "
            f"{row.dpo_chosen:>12.2g} {row.dpo_rejected:>14.2g}"
        )
    yield ""
    yield "KTO's vanishes at both ends. DPO's tends to beta where the model has the pair"
    yield "wrong, however hopelessly."


def _slope(loss_N: Tensor, reward_N: Tensor) -> Tensor:
    (slope_N,) = torch.autograd.grad(loss_N.sum(), reward_N)
    return slope_N
