"""
Theorem 4.3: where people contradict each other, DPO's optimum can prefer the minority's answer, KTO's does not.

A fraction p > 1/2 of people prefers y_a to y_b, the others y_b to y_a, all for the same prompt. DPO's optimum is

    policy(y_a) / policy(y_b) = reference(y_a) / reference(y_b) * (p / (1 - p))^(1 / beta)

so that it prefers y_b if p^(1/beta) reference(y_a) < (1 - p)^(1/beta) reference(y_b). KTO with lambda_D = lambda_U,
each preference split into a desirable and an undesirable example and its reference point held fixed, is lowest where
y_a has all of the mass. For p = 1/2 its total loss is 1/2 whatever the policy: it changes nothing (version 1's text).

Ethayarajh et al., ICML 2024, https://arxiv.org/abs/2402.01306, section 4.3; the exact condition is derived here: DPO's
loss is -p log sigmoid(beta d) - (1 - p) log sigmoid(-beta d), d = r_a - r_b, lowest at sigmoid(beta d) = p.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.recipes.theory.answers import compared, rated

REFERENCE = torch.tensor([0.05, 0.9, 0.05], dtype=torch.float64)
"""The reference's probability of y_a, of y_b, and of all else."""
_FLAT = 1e-9
"""Largest gradient of a logit at which descent ends."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """People who contradict each other about two answers to a prompt, and the model that they judge."""

    p: float
    """The fraction that prefers y_a."""
    beta: float
    reference_Y: Tensor
    """The reference's probabilities: y_a, y_b, then any others."""

    def dpo_loss(self, policy_Y: Tensor) -> Tensor:
        """Return DPO's population loss of a policy, a scalar."""
        reward_Y = policy_Y.log() - self.reference_Y.log()
        # The pair as the majority and as the minority has it.
        both = DPO(beta=self.beta)(compared(reward_Y[[0, 1]], reward_Y[[1, 0]])).per_example
        return both @ both.new_tensor([self.p, 1 - self.p])

    def kto_loss(self, policy_Y: Tensor, *, reference_point: float = 0.0) -> Tensor:
        """Return loss-neutral KTO's population loss, a scalar: each preference gives a good and a bad example."""
        reward_Y = policy_Y.log() - self.reference_Y.log()
        # Majority: y_a good, y_b bad. Minority: y_b good, y_a bad.
        labels = torch.tensor([True, False, True, False])
        batch = rated(reward_Y[[0, 1, 1, 0]], labels, reference_point=reference_point)
        each = KTO(beta=self.beta)(batch).per_example
        return each @ each.new_tensor([self.p, self.p, 1 - self.p, 1 - self.p]) / 2

    def dpo_optimal_ratio(self) -> float:
        """Return policy(y_a) / policy(y_b) at DPO's optimum, by the formula."""
        return float(self.reference_Y[0] / self.reference_Y[1] * (self.p / (1 - self.p)) ** (1 / self.beta))

    def dpo_prefers_the_minority(self) -> bool:
        """Return the theorem's condition, p^(1/beta) reference(y_a) < (1 - p)^(1/beta) reference(y_b)."""
        a, b = self.reference_Y[:2].tolist()
        return bool(self.p ** (1 / self.beta) * a < (1 - self.p) ** (1 / self.beta) * b)


def optimum(loss: Callable[[Tensor], Tensor], start_Y: Tensor) -> Tensor:
    """Find a categorical policy that a loss is lowest for, (Y,), by descent from another."""
    from scipy.optimize import minimize

    def value_and_slope(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        # Over logits there are no constraints, so any descent method will do.
        logit_Y = torch.tensor(point, requires_grad=True)
        value = loss(torch.softmax(logit_Y, 0))
        (slope_Y,) = torch.autograd.grad(value, logit_Y)
        return float(value.detach()), slope_Y.numpy()

    found = minimize(value_and_slope, start_Y.log().numpy(), jac=True, method="BFGS", options={"gtol": _FLAT})
    return torch.softmax(torch.tensor(found.x), 0)


def lines() -> Iterator[str]:
    """Yield the optima of DPO and of KTO for some disagreements, as lines of a table."""
    a, b = REFERENCE[:2].tolist()
    yield "A share p of people prefers y_a to y_b, the rest y_b to y_a."
    yield f"The reference gives y_a a probability of {a:g} and y_b of {b:g}; beta is 1."
    yield ""
    yield f"{'p':>5} {'DPO: y_a / y_b':>16} {'by formula':>12} {'DPO prefers':>12} {'KTO: y_a':>10} {'KTO: y_b':>10}"
    for p in (0.55, 0.6, 0.75, 0.9, 0.99):
        people = Disagreement(p, 1.0, REFERENCE)
        dpo, kto = optimum(people.dpo_loss, REFERENCE), optimum(people.kto_loss, REFERENCE)
        prefers = "y_b" if people.dpo_prefers_the_minority() else "y_a"
        yield (
            f"{p:>5g} {float(dpo[0] / dpo[1]):>16.4f} {people.dpo_optimal_ratio():>12.4f} {prefers:>12} "
            f"{float(kto[0]):>10.4f} {float(kto[1]):>10.4f}"
        )
    even = Disagreement(0.5, 1.0, REFERENCE)
    losses = ", ".join(f"{float(even.kto_loss(policy)):.4f}" for policy in (REFERENCE, REFERENCE.flip(0)))
    yield ""
    yield "DPO goes with the minority as long as the reference outweighs the majority;"
    yield "KTO goes with the majority."
    yield f"For p = 1/2 the loss of KTO is 1/2 for every policy, here for two: {losses}."
