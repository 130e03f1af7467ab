"""
What a loss is: a frozen value that declares what it needs and maps log-probabilities to one number an example.

Shape suffixes: B examples (or sequences) of a micro-batch, T completion tokens of all of them end to end. Mismatched
completions are those of the *whole step*. Log-probabilities and log-ratios are natural logarithms, in nats.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor

from haloes.errors import ConfigError, MissingInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a loss has to be given. The trainer obeys this and asks no more."""

    pairs: bool = False
    """Pairs of a chosen and a rejected completion, rather than single completions with a label."""
    logps: bool = True
    """The policy's log-probability of every token. A loss that reads none says False, and they are not computed."""
    reference: bool = False
    """The reference's log-probability of every completion."""
    reference_tokens: bool = False
    """The reference's log-probability of every token of a completion; their sum is given too."""
    mismatched: bool = False
    """Completions under prompts that they do not belong to, for a reference point."""
    undesirable: bool = True
    """Undesirable completions too; a loss that learns from the desirable alone says False, and is given no others."""
    scores: bool = False
    """The human's score of every completion, rather than its label alone."""
    score_range: tuple[float, float] | None = None
    """Between which numbers scores lie; an undesirable completion without a score has the lower, a desirable one the
    higher. None: anywhere, and -1 and +1."""
    collision: bool = False
    """log sum_v p(v)^2 of the policy's distribution at every token (how peaked it is)."""
    reference_kl: bool = False
    """KL(reference || policy) of the whole distribution at every token; the reference is computed in every step."""
    values: bool = False
    """A value head on the policy: its estimate of what is still to come, at every token."""
    rewards: bool = False
    """A reward head on the policy: one number a completion, read from the hidden state of its last token. The result is
    a reward model, which scores answers and gives none."""
    margins: bool = False
    """By how much the human found the chosen completion of every pair better."""
    running_reward: bool = False
    """The mean log-ratio over the steps before this one."""
    whole_step: bool = False
    """Its examples depend on each other: a step goes through in one piece, whatever memory that takes."""
    control: tuple[str, str] | None = None
    """Texts that stand after the prompt of a desirable and of an undesirable completion; the first is sampled with."""
    sync_every: int | None = None
    """The reference becomes the policy again every so many steps. Its log-probabilities cannot be cached then."""

    @property
    def any_reference(self) -> bool:
        """Whether the reference is needed for anything."""
        return self.reference or self.reference_tokens or self.reference_kl

    def __or__(self, other: "Needs") -> "Needs":
        """What both need together. Undesirable completions are needed where either needs them."""
        return Needs(**{f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Logps:
    """Log-probabilities of the completion tokens of B sequences, end to end: ragged, nothing padded."""

    token_T: Tensor
    lengths_B: Tensor
    """How many of the T tokens belong to each sequence (int64, on the device of `token_T`)."""

    def total(self) -> Tensor:
        """log p(y|x) of each sequence, (B,): the sum over its tokens."""
        return self.sums(self.token_T)

    def average(self) -> Tensor:
        """Mean log-probability per token of each sequence, (B,)."""
        return self.averages(self.token_T)

    def sums(self, values_T: Tensor) -> Tensor:
        """The sum of values at the tokens, by sequence, (B,)."""
        # On a GPU checking the lengths would make the processor wait for it.
        return torch.segment_reduce(values_T, "sum", lengths=self.lengths_B, initial=0, unsafe=values_T.is_cuda)

    def averages(self, values_T: Tensor) -> Tensor:
        """The mean of values at the tokens, by sequence, (B,); 0 for a sequence without tokens."""
        return self.sums(values_T) / self.lengths_B.clamp(min=1)

    def spread(self, values_B: Tensor) -> Tensor:
        """A value of each sequence at all of its tokens, (T,)."""
        return values_B.repeat_interleave(self.lengths_B, output_size=len(self.token_T))

    def position(self) -> Tensor:
        """The place of each token in its completion, from 0, (T,)."""
        start_B = self.lengths_B.cumsum(0) - self.lengths_B
        return torch.arange(len(self.token_T), device=self.token_T.device) - self.spread(start_B)


@dataclass(frozen=True, slots=True)
class Scored:
    """Completions under the policy and, where the loss needs it, under the reference."""

    logps: Logps | None
    """Under the policy; None where the loss said that it reads none."""
    reference_B: Tensor | None = None
    """log p_reference(y|x) of each sequence, (B,), without gradient."""
    reference_T: Tensor | None = None
    """log p_reference of each token, (T,), without gradient."""
    collision_T: Tensor | None = None
    """log sum_v p_policy(v)^2 at each token, (T,), without gradient."""
    reference_kl_T: Tensor | None = None
    """KL(reference || policy) at each token, (T,), with gradient."""
    value_T: Tensor | None = None
    """The value head's estimate at each token, (T,), with gradient for the value head alone."""
    reward_B: Tensor | None = None
    """The reward head's number for each sequence, (B,), with gradient."""

    @property
    def policy(self) -> Logps:
        """The log-probabilities under the policy. Raises MissingInputError where the loss said that it needs none."""
        if self.logps is None:
            raise MissingInputError("this loss needs the policy's log-probabilities, and the batch has none")
        return self.logps

    def log_ratio(self) -> Tensor:
        """r = log p_policy(y|x) - log p_reference(y|x), (B,). Raises MissingInputError without a reference."""
        return self.policy.total() - _given(self.reference_B, "reference log-probabilities").detach()

    def token_log_ratio(self) -> Tensor:
        """log p_policy - log p_reference of each token, (T,). Raises MissingInputError without token log-probs."""
        return self.policy.token_T - _given(self.reference_T, "reference log-probabilities of tokens").detach()

    def collision(self) -> Tensor:
        """log sum_v p_policy(v)^2 at each token, (T,), without gradient. Raises MissingInputError."""
        return _given(self.collision_T, "the collision probability at each token").detach()

    def reference_kl(self) -> Tensor:
        """KL(reference || policy) at each token, (T,), in nats, with gradient. Raises MissingInputError."""
        return _given(self.reference_kl_T, "the KL divergence at each token")

    def value(self) -> Tensor:
        """The value head's estimate at each token, (T,), with gradient. Raises MissingInputError."""
        return _given(self.value_T, "the estimates of a value head")

    def reward(self) -> Tensor:
        """The reward head's number for each sequence, (B,), with gradient. Raises MissingInputError."""
        return _given(self.reward_B, "the rewards of a reward head")


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Single completions with a label each; a batch of one label is not a special case."""

    completions: Scored
    desirable_B: Tensor
    """bool, (B,)."""
    mismatched: Scored | None = None
    """All mismatched completions (x, y') of the step, from all micro-batches and ranks, without gradient."""
    score_B: Tensor | None = None
    """The human's score of each completion, (B,); +1 or -1 by its label where there is none."""
    running_reward: Tensor | None = None
    """The mean of the log-ratio r over all steps before this one, a scalar; 0 in the first step."""

    def baseline(self) -> Tensor:
        """
        The reference point z0 = max(0, mean of r(x, y')), a scalar through which no gradient flows.

        The mean is over the whole step and is clamped once, after averaging (PAPER 1.5, "z0 estimate").
        Raises MissingInputError when the batch has no mismatched completions.
        """
        return self.others().log_ratio().detach().mean().clamp(min=0)

    def others(self) -> Scored:
        """The step's mismatched completions. Raises MissingInputError when there are none."""
        if self.mismatched is None or len(self.mismatched.policy.lengths_B) == 0:
            raise MissingInputError(
                "this loss needs mismatched completions for its reference point, and there are none"
            )
        return self.mismatched

    def scores(self) -> Tensor:
        """The human's score of each completion, (B,). Raises MissingInputError when there are none."""
        return _given(self.score_B, "scores")

    def reward_so_far(self) -> Tensor:
        """The mean log-ratio of all earlier steps, a scalar. Raises MissingInputError when it is not kept."""
        return _given(self.running_reward, "the mean reward of earlier steps").detach()

    @property
    def chosen(self) -> NoReturn:
        """What only pairs have. Raises MissingInputError."""
        raise MissingInputError("this loss needs pairs, and the batch holds single completions")

    @property
    def rejected(self) -> NoReturn:
        """What only pairs have. Raises MissingInputError."""
        raise MissingInputError("this loss needs pairs, and the batch holds single completions")

    def margins(self) -> NoReturn:
        """What only pairs have. Raises MissingInputError."""
        raise MissingInputError("this loss needs the margins of pairs, and the batch holds single completions")

    def mapped(self, change: Callable[[Scored], Scored]) -> "Unpaired":
        """The batch with all its scored completions changed alike."""
        mismatched = None if self.mismatched is None else change(self.mismatched)
        return replace(self, completions=change(self.completions), mismatched=mismatched)


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs: the i-th chosen and the i-th rejected completion answer the same prompt."""

    chosen: Scored
    rejected: Scored
    margin_B: Tensor | None = None
    """By how much the human found the chosen completion of each pair better, (B,)."""

    def margins(self) -> Tensor:
        """By how much each chosen completion is better, (B,). Raises MissingInputError where nobody said."""
        return _given(self.margin_B, "the margins of pairs")

    def mapped(self, change: Callable[[Scored], Scored]) -> "Paired":
        """The batch with all its scored completions changed alike."""
        return replace(self, chosen=change(self.chosen), rejected=change(self.rejected))


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

    @property
    def needs(self) -> Needs:
        """What it has to be given: the same for all its instances, or derived from its fields."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that it returns, sorted. A loss from outside that returns none may leave it out."""
        ...

    def __call__(self, batch: BatchT_contra) -> LossOutput:
        """One finite number an example, (B,), and the loss's own metrics. No reduction, no communication, no model."""
        ...


def declared_metrics(loss: Loss[Any]) -> tuple[str, ...]:
    """Return the names of the metrics that a loss returns beside its values; none where it declares nothing."""
    names: tuple[str, ...] = getattr(loss, "metrics", ())
    return names


def call_loss(loss: Loss[Any], batch: Unpaired | Paired) -> LossOutput:
    """Call a loss; raise ConfigError where it returns other metrics than it declares."""
    output = loss(batch)
    if set(output.metrics) != set(declared_metrics(loss)):
        returned, declared = _listed(output.metrics), _listed(declared_metrics(loss))
        raise ConfigError(
            f"loss: {type(loss).__name__} returns the metrics {returned} and declares {declared}; "
            f"write {metrics_line(sorted(output.metrics))} in its class"
        )
    return output


def metrics_line(names: Sequence[str]) -> str:
    """Return the line of a loss's class that declares these metrics."""
    return f"metrics: ClassVar[tuple[str, ...]] = {tuple(names)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names)) or "none"


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise MissingInputError(f"this loss needs {name}, and the batch has none")
    return value
