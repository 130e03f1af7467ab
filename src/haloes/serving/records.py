"""What is kept: answers and votes, as the store takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["left", "right", "tie", "both_bad"]
"""What a person says of two answers that stand side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer with all that is kept of it."""

    completion_id: str
    """Id under which it is kept: unlike an upstream's, no other answer has it."""
    choice: int = 0
    """Number of the answer among those of one request."""
    upstream_id: str | None = None
    """Id inside the reply."""
    purpose: Literal["chat", "comparison"] = "chat"
    created_at: float
    """Seconds since 1970."""
    model: str
    user: str | None = None
    """Who asked."""
    conversation: str | None = None
    messages: Sequence[Any]
    """The turns before the answer, as they were sent."""
    tools: Sequence[Any] = ()
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Sampling settings of the request."""
    message: Mapping[str, Any]
    """The answer as a turn: role, content, and reasoning and tool calls where there are some."""
    finish_reason: str | None = None
    """"stopped" where the reader hung up before the end."""
    first_token_ms: float | None = None
    total_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: Sequence[float] = ()
    """Log-probability of each token, nats, where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A person's vote on one answer."""

    completion_id: str
    choice: int = 0
    rating: int | None = None
    """1 up, -1 down; None without a correction takes an earlier vote back."""
    correction: str | None = None
    comment: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A person's vote on two answers."""

    comparison_id: str
    verdict: Verdict
    comment: str | None = None
    user: str | None = None


class UnknownError(Exception):
    """There is no such answer, or no such comparison, in the store."""


class NotKeptError(Exception):
    """The store could not write: the disk is full, or fails; nothing of what was asked is kept."""
