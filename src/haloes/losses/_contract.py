"""
What a loss is: a frozen value that declares what it needs and maps log-probabilities to one number an example.

Shape suffixes: B examples (or sequences) of a micro-batch, T completion tokens of all of them end to end,
M mismatched completions of the *whole step*. Log-probabilities and log-ratios are natural logarithms, in nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor

from haloes.errors import MissingInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a loss has to be given, beside the policy's log-probabilities. The trainer obeys this and asks no more."""

    pairs: bool = False
    """Pairs of a chosen and a rejected completion, rather than single completions with a label."""
    reference: bool = False
    """The reference's log-probability of every completion."""
    mismatched: bool = False
    """Log-ratios of completions under prompts that they do not belong to, for a reference point."""
    undesirable: bool = True
    """Undesirable completions too; a loss that learns from the desirable alone says False, and is given no others."""


@dataclass(frozen=True, slots=True)
class Logps:
    """Log-probabilities of the completion tokens of B sequences, end to end: ragged, nothing padded."""

    token_T: Tensor
    lengths_B: Tensor
    """How many of the T tokens belong to each sequence (int64, on the device of `token_T`)."""

    def total(self) -> Tensor:
        """log p(y|x) of each sequence, (B,): the sum over its tokens."""
        return torch.segment_reduce(self.token_T, "sum", lengths=self.lengths_B, initial=0)

    def average(self) -> Tensor:
        """Mean log-probability per token of each sequence, (B,)."""
        return self.total() / self.lengths_B.clamp(min=1)


@dataclass(frozen=True, slots=True)
class Scored:
    """Completions under the policy and, where the loss needs it, under the reference."""

    policy: Logps
    reference_B: Tensor | None = None
    """log p_reference(y|x) of each sequence, (B,), without gradient."""

    def log_ratio(self) -> Tensor:
        """r = log p_policy(y|x) - log p_reference(y|x), (B,). Raises MissingInputError without a reference."""
        if self.reference_B is None:
            raise MissingInputError("this loss needs reference log-probabilities, and the batch has none")
        return self.policy.total() - self.reference_B.detach()


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Single completions with a label each; a batch of one label is not a special case."""

    completions: Scored
    desirable_B: Tensor
    """bool, (B,)."""
    mismatched_log_ratio_M: Tensor | None = None
    """r(x, y') over all mismatched completions y' of the step, from all micro-batches and ranks, without gradient."""

    def baseline(self) -> Tensor:
        """
        The reference point z0 = max(0, mean of r(x, y')), a scalar through which no gradient flows.

        The mean is over the whole step and is clamped once, after averaging (PAPER 1.5, "z0 estimate").
        Raises MissingInputError when the batch has no mismatched completions.
        """
        if self.mismatched_log_ratio_M is None or self.mismatched_log_ratio_M.numel() == 0:
            raise MissingInputError(
                "this loss needs mismatched completions for its reference point, and there are none"
            )
        return self.mismatched_log_ratio_M.detach().mean().clamp(min=0)

    @property
    def chosen(self) -> NoReturn:
        """What only pairs have. Raises MissingInputError."""
        raise MissingInputError("this loss needs pairs, and the batch holds single completions")

    @property
    def rejected(self) -> NoReturn:
        """What only pairs have. Raises MissingInputError."""
        raise MissingInputError("this loss needs pairs, and the batch holds single completions")


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs: the i-th chosen and the i-th rejected completion answer the same prompt."""

    chosen: Scored
    rejected: Scored


@dataclass(frozen=True, slots=True)
class LossOutput:
    """What a loss gives back: unreduced, so that the trainer alone averages, over micro-batches and ranks."""

    per_example: Tensor
    """(B,), with gradient."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """Numbers of the loss's own to log, (B,) each and without gradient; averaged over the step like the loss."""


BatchT_contra = TypeVar("BatchT_contra", Unpaired, Paired, contravariant=True)


class Loss(Protocol[BatchT_contra]):
    """A frozen dataclass whose fields are hyperparameters and whose call is its formula."""

    needs: ClassVar[Needs]

    def __call__(self, batch: BatchT_contra) -> LossOutput:
        """One finite number an example, (B,), and the loss's own metrics. No reduction, no communication, no model."""
        ...
