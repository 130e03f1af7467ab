"""
One forgiving reader of chat completions, for all that OpenAI-compatible servers make of them.

What is beside the words (token counts, log-probabilities) is left out where it is odd, and what is left out has its
reason. Only what holds no reply at all is refused, so that it is asked for again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any, TypeAlias

Logprobs: TypeAlias = Mapping[str, float]
"""Log-probability of each token that might have come first."""

EMPTY = "the reply is empty"
"""The silence of a model that ends its turn at once."""

_REASONING = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message in which servers keep what a model thought, apart from its reply."""
_ENDS = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
"""Finish reasons with which servers say that the model ended its turn itself."""
_MOST_TOKENS = 1 << 40
_ROUNDING = 1e-3
"""Nats above 0 that a log-probability may have by rounding."""
_QUOTED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """The parts of a chat completion that are used."""

    text: str = ""
    """The model's words; thoughts that the server keeps apart are none of them."""
    silence: str = ""
    """Why there are no words; empty where there are some."""
    reasoning: str = ""
    """What the model thought, where the server keeps it apart."""
    finish_reason: str = ""
    first_token: Logprobs = field(default_factory=lambda: MappingProxyType({}))
    """Empty where the server sent none, or none that could be read."""
    logprobs_fault: str = ""
    """Why `first_token` is empty; empty where it is not."""
    prompt_tokens: int = 0
    """0 where the server does not say."""
    completion_tokens: int = 0

    @property
    def finished(self) -> bool:
        """Return whether the model ended its turn itself, as far as the server says."""
        return self.finish_reason.casefold() in _ENDS


def read_chat(content: Any) -> ChatReply:
    """Read a chat completion, as JSON made it. Raises ValueError where it holds no reply."""
    whole = _mapping(content)
    if whole.get("error"):
        raise ValueError(f"the server reports an error: {_said(whole['error'])}")
    choices = whole.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
    if choice.get("error"):
        raise ValueError(f"the server reports an error: {_said(choice['error'])}")
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise ValueError("it holds no choices with a message, as a chat completion does")  # noqa: TRY004
    text = _words(message.get("content"))
    usage = _mapping(whole.get("usage"))
    first_token, fault = _first_token(choice.get("logprobs"))
    return ChatReply(
        text=text,
        silence="" if text.strip() else _silence(message),
        reasoning=_thought(message),
        finish_reason=_plain(choice.get("finish_reason")),
        first_token=first_token,
        logprobs_fault=fault,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _words(content: Any) -> str:
    """Return the text of a message's content: a text, or parts of which some are texts."""
    if isinstance(content, list):
        return "".join(map(_words, content))
    if isinstance(content, Mapping):
        # Parts of other kinds hold thoughts, refusals, or pictures.
        is_text = content.get("type", "text") in {"text", "output_text"}
        return _words(content.get("text", content.get("value"))) if is_text else ""
    return content if isinstance(content, str) else ""


def _silence(message: Mapping[Any, Any]) -> str:
    """Say why a message holds no words."""
    content = message.get("content")
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    refusals = [refusal for part in [message, *parts] if (refusal := _words(part.get("refusal")))]
    if refusals:
        return f"the model refuses: {_said(refusals[0])}"
    thought = sum(len(_thought(part)) for part in [message, *parts])
    if thought:
        return f"the model only thought ({thought:,} characters), and gave no reply"
    if message.get("tool_calls") or message.get("function_call"):
        return "the model calls a tool, and gives no reply"
    if content is None or isinstance(content, str) or content in ([], {}):
        return EMPTY
    return f"the reply holds no text: its content is {_said(content)}"


def _thought(part: Mapping[Any, Any]) -> str:
    return next((thought for name in _REASONING if (thought := _words(part.get(name)))), "")


def _first_token(logprobs: Any) -> tuple[Logprobs, str]:
    """Return the likeliest first tokens with their log-probabilities; or none, and why."""
    if not logprobs:
        return {}, "the server sent no log-probabilities"
    tokens = _mapping(logprobs).get("content")
    tops = _mapping(tokens[0]).get("top_logprobs") if isinstance(tokens, list) and tokens else None
    if not isinstance(tops, list):
        return {}, f"its log-probabilities cannot be read: {_said(logprobs)}"
    found: dict[str, float] = {}
    for top in map(_mapping, tops):
        token, value = top.get("token"), _number(top.get("logprob"))
        # Minus infinity is what some servers write for an impossible token.
        if not isinstance(token, str) or value is None or not value <= _ROUNDING:
            return {}, f"its log-probabilities cannot be read: {_said(dict(top))}"
        found[token] = value
    return found, "" if found else "the server sent no log-probabilities"


def _count(value: Any) -> int:
    """Return a number of tokens; 0 where it is none."""
    number = _number(value)
    return int(number) if number is not None and isfinite(number) and 0 <= number <= _MOST_TOKENS else 0


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON allows integers of any length
        return None


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _said(value: Any) -> str:
    """Quote what a server said, in one line and not at length."""
    message = _mapping(value).get("message")
    text = " ".join(str(message if isinstance(message, str) else value).split())
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
