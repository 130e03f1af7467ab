"""Batches for tests of losses: ragged completions with everything that a loss may declare, as leaves of autograd."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.losses._contract import Logps, LossOutput, Needs, Paired, Scored, Unpaired

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """A completion, token by token; each field is a leaf, (t,)."""

    policy: Tensor
    """log p_policy."""
    reference: Tensor
    """log p_reference."""
    collision: Tensor
    """log sum_v p_policy(v)^2."""
    kl: Tensor
    """KL(reference || policy)."""
    value: Tensor
    """A value head's estimate."""
    reward: Tensor
    """A reward head's number for the whole completion, ()."""

    def leaves(self) -> dict[str, Tensor]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def numbers(self) -> dict[str, Numbers]:
        """The fields by name, for an oracle in NumPy."""
        return {name: leaf.detach().double().numpy() for name, leaf in self.leaves().items()}


@dataclass(frozen=True)
class Example:
    """Enough for a loss on single completions (the first side, its label and score) and for one on pairs (both, and
    the score as the margin)."""

    completion: Side
    desirable: bool
    score: float
    rejected: Side


def make_side(rng: np.random.Generator, *, dtype: torch.dtype = torch.float64, spread: float = 1.0) -> Side:
    """A completion of one to five tokens, whose log-ratio to the reference has about this spread a token."""
    tokens = int(rng.integers(1, 6))
    policy = -rng.exponential(1.5, tokens) - 0.1
    reference = np.minimum(policy + rng.normal(0, spread, tokens), -0.01)
    numbers = (
        policy,
        reference,
        -rng.exponential(1.0, tokens),
        rng.exponential(0.5, tokens),
        rng.normal(0, 1, tokens),
        policy.sum() - reference.sum(),
    )
    return Side(*(torch.tensor(part, dtype=dtype, requires_grad=True) for part in numbers))


def side_of(policy: Sequence[float], reference: Sequence[float], *, dtype: torch.dtype = torch.float64) -> Side:
    """A completion with these token log-probabilities, and zeros for the rest."""
    numbers = (policy, reference, *([0.0] * len(policy) for _ in range(3)), sum(policy) - sum(reference))
    return Side(*(torch.tensor(part, dtype=dtype, requires_grad=True) for part in numbers))


def ratio_side(ratio: float, *, dtype: torch.dtype = torch.float64) -> Side:
    """A completion of one token with this log-ratio to the reference."""
    return side_of([min(ratio, 0.0) - 1.0], [min(-ratio, 0.0) - 1.0], dtype=dtype)


def make_examples(num: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Example]:
    """Examples of both labels."""
    rng = np.random.default_rng(seed)
    return [
        Example(make_side(rng, dtype=dtype), i % 3 != 1, float(rng.normal()), make_side(rng, dtype=dtype))
        for i in range(num)
    ]


def make_mismatched(num: int = 5, *, seed: int = 9, dtype: torch.dtype = torch.float64) -> list[Side]:
    """Mismatched completions, more of them than a batch need have, with a mean log-ratio above zero."""
    rng = np.random.default_rng(seed)
    sides = [make_side(rng, dtype=dtype) for _ in range(num)]
    for side in sides:
        side.reference.data -= 1.0
    return sides


def scored(sides: Sequence[Side], needs: Needs) -> Scored:
    """The sides as a loss with these needs is given them."""

    def joined(name: str, wanted: bool) -> Tensor | None:
        return torch.cat([getattr(side, name) for side in sides]) if wanted else None

    lengths = torch.tensor([len(side.policy) for side in sides], dtype=torch.int64)
    return Scored(
        Logps(torch.cat([side.policy for side in sides]), lengths) if needs.logps else None,
        reference_B=torch.stack([side.reference.sum() for side in sides]) if needs.reference else None,
        reference_T=joined("reference", needs.reference_tokens),
        collision_T=joined("collision", needs.collision),
        reference_kl_T=joined("kl", needs.reference_kl),
        value_T=joined("value", needs.values),
        reward_B=torch.stack([side.reward for side in sides]) if needs.rewards else None,
    )


def make_batch(
    examples: Sequence[Example],
    needs: Needs,
    *,
    mismatched: Sequence[Side] | None = None,
    running_reward: float = 0.0,
) -> Unpaired | Paired:
    """The batch that the trainer would make for a loss with these needs."""
    completions = scored([example.completion for example in examples], needs)
    dtype = examples[0].completion.policy.dtype
    if needs.pairs:
        margin_B = torch.tensor([example.score for example in examples], dtype=dtype) if needs.margins else None
        return Paired(completions, scored([example.rejected for example in examples], needs), margin_B)
    others = make_mismatched(dtype=dtype) if mismatched is None else mismatched
    return Unpaired(
        completions,
        torch.tensor([example.desirable for example in examples]),
        mismatched=scored(others, needs) if needs.mismatched else None,
        score_B=torch.tensor([example.score for example in examples], dtype=dtype) if needs.scores else None,
        running_reward=torch.tensor(running_reward, dtype=dtype) if needs.running_reward else None,
    )


def evaluate(loss: Any, examples: Sequence[Example], **settings: Any) -> LossOutput:
    """Call a loss with what it declares."""
    output: LossOutput = loss(make_batch(examples, loss.needs, **settings))
    return output


def gradient(total: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """d total / d leaves, zeros where there is no dependence."""
    if not total.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def of_ratios(ratios: Sequence[float] | Tensor, *, dtype: torch.dtype = torch.float64) -> Scored:
    """Completions of one token with these log-ratios to a reference that gives probability 1 (for arithmetic alone)."""
    values = torch.as_tensor(ratios, dtype=dtype)
    return Scored(Logps(values, torch.ones(len(values), dtype=torch.int64)), torch.zeros_like(values))
