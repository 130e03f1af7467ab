"""
The contract of losses: a loss is a frozen value that declares what it needs and maps a batch to a number an example.

`Needs` is what it declares, `Unpaired` and `Paired` are what it is given, `LossOutput` is what it returns.

Shape suffixes: B examples (or sequences) of a micro-batch, T completion tokens of all of them end to end. Mismatched
completions are those of the *whole step*. Log-probabilities and log-ratios are natural logarithms, in nats.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._math import clamped_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A need as the rest of haloes reads it: its words, and the field of a batch that holds what it asks for."""

    words: str = ""
    """A few words for the documentation; empty where `Needs.in_words` says it together with others."""
    held_by: str = ""
    """The field of `Scored`, `Unpaired` or `Paired` that holds it; empty where it is no part of a batch."""
    singles_only: bool = False
    """Whether a batch of pairs cannot have it."""


def _need(*, default: Any, words: str = "", held_by: str = "", singles_only: bool = False) -> Any:
    """Declare a field of `Needs`: its default and its `Need`. `haloes.training.step` provides what it asks for."""
    need = Need(words=words, held_by=held_by, singles_only=singles_only)
    return field(default=default, metadata={"need": need})


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a loss has to be given. The trainer obeys this and provides no more."""

    pairs: bool = _need(default=False)
    """Pairs of a chosen and a rejected completion, rather than single completions with a label."""
    undesirable: bool = _need(default=True)
    """Undesirable completions too; a loss that learns from the desirable alone says False, and is given no others."""
    scores: bool = _need(default=False, held_by="score_B", singles_only=True)
    """The human's score of every completion, rather than its label alone."""
    score_range: tuple[float, float] | None = _need(default=None)
    """Bounds of the scores; an undesirable completion without a score has the lower, a desirable one the higher. None:
    no bounds, and -1 and +1."""
    logps: bool = _need(default=True, held_by="logps")
    """The policy's log-probability of every token. A loss that reads none says False, and they are not computed."""
    reference: bool = _need(default=False, held_by="reference_B")
    """The reference's log-probability of every completion."""
    reference_tokens: bool = _need(default=False, held_by="reference_T")
    """The reference's log-probability of every token of a completion; their sum is given too."""
    reference_kl: bool = _need(default=False, words="KL to the reference", held_by="reference_kl_T")
    """KL(reference || policy) of the whole distribution at every token; the reference is computed in every step."""
    mismatched: bool = _need(default=False, words="mismatched answers", held_by="mismatched", singles_only=True)
    """Completions under prompts that they do not belong to, for a reference point."""
    collision: bool = _need(default=False, words="policy's peakedness", held_by="collision_T")
    """log sum_v p(v)^2 of the policy's distribution at every token (how peaked it is)."""
    values: bool = _need(default=False, words="value head", held_by="value_T")
    """A value head on the policy: its estimate of what is still to come, at every token."""
    rewards: bool = _need(default=False, words="reward head", held_by="reward_B")
    """A reward head on the policy: one number a completion, read from the hidden state of its last token. The result is
    a reward model, which scores answers and writes none."""
    margins: bool = _need(default=False, words="margins", held_by="margin_B")
    """By how much the human found the chosen completion of every pair better."""
    running_reward: bool = _need(
        default=False, words="running mean reward", held_by="running_reward", singles_only=True
    )
    """The mean log-ratio over the steps before this one."""
    whole_step: bool = _need(default=False, words="undivided step", singles_only=True)
    """Its examples depend on each other: a step goes through in one piece, whatever memory that takes."""
    control: tuple[str, str] | None = _need(default=None, words="control texts", singles_only=True)
    """Texts that stand after the prompt of a desirable and of an undesirable completion; the first is sampled with."""
    sync_every: int | None = _need(default=None, words="reference synced")
    """The number of steps after which the reference becomes the policy again. Its log-probabilities cannot be cached
    then."""
    sync_before_update: bool = _need(default=False, words="before the update")
    """The reference becomes the policy before the weights of that step are updated, and not after it."""

    @property
    def any_reference(self) -> bool:
        """Return whether the reference is needed for anything."""
        return self.reference or self.reference_tokens or self.reference_kl

    def __or__(self, other: "Needs") -> "Needs":
        """Return what both need together. Undesirable completions are needed where either needs them."""
        return Needs(**{f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)})

    def declared(self) -> Iterator[Need]:
        """Yield the needs that are declared, in the order of the fields."""
        for each in fields(self):
            # The reference's tokens come with their sums.
            implied = each.name == "reference" and self.reference_tokens
            if implied or getattr(self, each.name) not in (False, None):
                yield each.metadata["need"]

    def in_words(self) -> tuple[str, ...]:
        """Say what has to be there, in a few words each: feedback first, then what the trainer computes or keeps."""
        if self.pairs:
            feedback = "pairs"
        elif self.scores and self.score_range is not None:
            feedback = f"scores {self.score_range[0]:g} to {self.score_range[1]:g} or labels"
        elif self.scores:
            feedback = "scores or labels"
        else:
            feedback = "labels" if self.undesirable else "good answers"
        reference = "reference by token" if self.reference_tokens else "reference"
        words = [need.words for need in self.declared() if need.words]
        return (feedback, *([reference] if self.any_reference else []), *words)

    def narrow(self, batch: "BatchT") -> "BatchT":
        """Return a batch without what is not declared, as a loss with these needs is given it."""
        held = {need.held_by for need in self.declared()}
        # Fields that no need holds, such as labels, are always given.
        withheld = {each.metadata["need"].held_by for each in fields(self)} - held

        def cut(part: Any) -> Any:
            return replace(part, **{each.name: None for each in fields(part) if each.name in withheld})

        narrowed: BatchT = cut(batch.mapped(cut))
        return narrowed


@dataclass(frozen=True, slots=True)
class Logps:
    """Log-probabilities of the completion tokens of B sequences, end to end: ragged, nothing padded."""

    token_T: Tensor
    lengths_B: Tensor
    """The number of the T tokens that belong to each sequence (int64, on the device of `token_T`)."""

    def total(self) -> Tensor:
        """Sum over the tokens of each sequence: log p(y|x), (B,)."""
        return self.sums(self.token_T)

    def average(self) -> Tensor:
        """Average over the tokens of each sequence: its mean log-probability per token, (B,)."""
        return self.averages(self.token_T)

    def sums(self, values_T: Tensor) -> Tensor:
        """Sum values at the tokens, (T,), by sequence, (B,)."""
        # On a GPU checking the lengths would make the processor wait for it.
        return torch.segment_reduce(values_T, "sum", lengths=self.lengths_B, initial=0, unsafe=values_T.is_cuda)

    def averages(self, values_T: Tensor) -> Tensor:
        """Average values at the tokens, (T,), by sequence, (B,); 0 for a sequence without tokens."""
        return self.sums(values_T) / self.lengths_B.clamp(min=1)

    def spread(self, values_B: Tensor) -> Tensor:
        """Repeat a value of each sequence, (B,), at all of its tokens, (T,)."""
        return values_B.repeat_interleave(self.lengths_B, output_size=len(self.token_T))

    def position(self) -> Tensor:
        """Count the tokens of each completion from 0, (T,)."""
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
        """Return the log-probabilities under the policy; raise MissingInputError where the loss said it reads none."""
        if self.logps is None:
            raise MissingInputError("this loss needs the policy's log-probabilities, and the batch has none")
        return self.logps

    def part(self, sequences: slice, tokens: slice) -> "Scored":
        """Return some of the sequences with their tokens, which lie in one piece."""
        # A field's shape suffix says what it runs over.
        cut: dict[str, Any] = {
            each.name: value[tokens if each.name.endswith("_T") else sequences]
            for each in fields(self)
            if isinstance(value := getattr(self, each.name), Tensor)
        }
        if self.logps is not None:
            cut["logps"] = Logps(self.logps.token_T[tokens], self.logps.lengths_B[sequences])
        return replace(self, **cut)

    def log_ratio(self) -> Tensor:
        """Return r = log p_policy(y|x) - log p_reference(y|x), (B,); raise MissingInputError without a reference."""
        return self.policy.total() - _given(self.reference_B, "reference log-probabilities").detach()

    def token_log_ratio(self) -> Tensor:
        """Return log p_policy - log p_reference of each token, (T,), or raise MissingInputError."""
        return self.policy.token_T - _given(self.reference_T, "reference log-probabilities of tokens").detach()

    def collision(self) -> Tensor:
        """Return log sum_v p_policy(v)^2 at each token, (T,), without gradient, or raise MissingInputError."""
        return _given(self.collision_T, "the collision probability at each token").detach()

    def reference_kl(self) -> Tensor:
        """Return KL(reference || policy) at each token, (T,), in nats, with gradient, or raise MissingInputError."""
        return _given(self.reference_kl_T, "the KL divergence at each token")

    def value(self) -> Tensor:
        """Return the value head's estimate at each token, (T,), with gradient, or raise MissingInputError."""
        return _given(self.value_T, "the estimates of a value head")

    def reward(self) -> Tensor:
        """Return the reward head's number for each sequence, (B,), with gradient, or raise MissingInputError."""
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

    def reference_point(self) -> Tensor:
        """
        Return the reference point z0 = max(0, mean of r(x, y')), a scalar through which no gradient flows.

        The mean is over the whole step, whatever its micro-batches.
        Raises MissingInputError when the batch has no mismatched completions.
        """
        return clamped_mean(self.others().log_ratio())

    def others(self) -> Scored:
        """Return the step's mismatched completions; raise MissingInputError when there are none."""
        if self.mismatched is None or len(self.mismatched.policy.lengths_B) == 0:
            raise MissingInputError(
                "this loss needs mismatched completions for its reference point, and there are none"
            )
        return self.mismatched

    def scores(self) -> Tensor:
        """Return the human's score of each completion, (B,); raise MissingInputError when there are none."""
        return _given(self.score_B, "scores")

    def reward_so_far(self) -> Tensor:
        """Return the mean log-ratio of all earlier steps, a scalar; raise MissingInputError when it is not kept."""
        return _given(self.running_reward, "the mean reward of earlier steps").detach()

    @property
    def chosen(self) -> NoReturn:
        """Raise MissingInputError: only pairs have this."""
        raise MissingInputError("this loss needs pairs, and the batch holds single completions")

    @property
    def rejected(self) -> NoReturn:
        """Raise MissingInputError: only pairs have this."""
        raise MissingInputError("this loss needs pairs, and the batch holds single completions")

    def margins(self) -> NoReturn:
        """Raise MissingInputError: only pairs have this."""
        raise MissingInputError("this loss needs the margins of pairs, and the batch holds single completions")

    def mapped(self, change: Callable[[Scored], Scored]) -> "Unpaired":
        """Return the batch with all its scored completions changed alike."""
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
        """Return by how much each chosen completion is better, (B,); raise MissingInputError where nobody said."""
        return _given(self.margin_B, "the margins of pairs")

    def mapped(self, change: Callable[[Scored], Scored]) -> "Paired":
        """Return the batch with all its scored completions changed alike."""
        return replace(self, chosen=change(self.chosen), rejected=change(self.rejected))


@dataclass(frozen=True, slots=True)
class LossOutput:
    """The values of a loss, unreduced, so that the trainer alone averages, over micro-batches and ranks."""

    per_example: Tensor
    """(B,), with gradient."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """The loss's own metrics by name, (B,) each and without gradient; averaged over the step like the loss."""


BatchT = TypeVar("BatchT", "Unpaired", "Paired")
BatchT_contra = TypeVar("BatchT_contra", Unpaired, Paired, contravariant=True)


class Loss(Protocol[BatchT_contra]):
    """A frozen dataclass whose fields are hyperparameters and whose call is its formula."""

    @property
    def needs(self) -> Needs:
        """Declare what it has to be given: the same for all its instances, or derived from its fields."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Name the metrics that it returns, sorted. A loss from outside that returns none may leave this out."""
        ...

    def __call__(self, batch: BatchT_contra) -> LossOutput:
        """Return a finite number an example, (B,), and its metrics. No reduction, no communication, no model."""
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
