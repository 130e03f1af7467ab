"""The rows that pass between the stages: typed, frozen, and the same in memory as on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Where:
    """Where a row was read: the file and its line (or the row's number, from 1, in formats without lines)."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    """"system", "user", "assistant" or "tool"."""
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Calls that an assistant turn makes, in the OpenAI shape; chat templates render them."""


Text: TypeAlias = str | tuple[Message, ...]
"""A prompt or a completion: plain text, or the messages of a chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One answer and what a person thought of it."""

    prompt: Text
    completion: Text
    label: bool | None = None
    """True: desirable, False: undesirable, None: only a score is known so far."""
    score: float | None = None
    finished: bool = True
    """False when the answer was cut off (at a token limit, by a stop button): its end of turn is not trained then."""
    weight: float = 1.0
    id: str | None = None
    group: str | None = None
    """Names the prompt: rows with the same group answer the same prompt. None: the prompt itself decides."""
    conversation: str | None = None
    user: str | None = None
    source: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    where: Where | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one prompt, of which a person preferred the first."""

    prompt: Text
    chosen: Text
    rejected: Text
    weight: float = 1.0
    id: str | None = None
    group: str | None = None
    conversation: str | None = None
    user: str | None = None
    source: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    where: Where | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was read and cannot be used, and why."""

    where: Where
    reason: str
    """A short, stable name of the kind of fault, for counting: "label", "empty completion", "no user turn" ..."""
    message: str
    """What is wrong with this row: the value, and what to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled answer."""

    prompt_id: str
    prompt: Text
    completion: str
    model: str
    """Which model answered: "before", "after", or a name."""
    num_tokens: int
    finished: bool
    """Whether the model ended its turn itself; False when it was cut off at the token limit."""
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that was measured, with its uncertainty."""

    name: str
    """What was measured: "auc", "liked", "words", "kl" ..."""
    value: float
    low: float
    high: float
    level: float = 0.95
    """The coverage of the interval [low, high]."""
    variant: str
    """Which model it is about: "before", "after", "difference" ..."""
    num_rows: int
    num_clusters: int
    """How many independent units (prompts) the interval rests on."""
    method: str
    """How the interval was made."""
    label: str = ""
    """How to call the number in a report; empty: its name."""


def to_json(record: object) -> dict[str, Any]:
    """A record as JSON-ready values; fields at their default are left out, and so is where a row was read."""
    out: dict[str, Any] = {}
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        if f.name == "where" or value == f.default:
            continue
        out[f.name] = _plain(value)
    return out


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def text_to_json(text: Text) -> object:
    """A prompt or completion as JSON-ready values: a string, or a list of messages."""
    return _plain(text)


def text_from_json(value: Any) -> Text:
    """The inverse of `text_to_json`."""
    if isinstance(value, str):
        return value
    return tuple(Message(turn["role"], turn["content"], tuple(turn.get("tool_calls", ()))) for turn in value)


def plain_text(text: Text) -> str:
    """The words of a prompt or completion, without roles: what a person reads."""
    return text if isinstance(text, str) else "\n".join(message.content for message in text)
