"""What a model replied, read from the bytes that went to the client: server-sent events, or one JSON object."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

_REASONING = ("reasoning_content", "reasoning")


@dataclass(slots=True)
class Choice:
    """One answer of a reply."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None
    logprobs: list[float] = field(default_factory=list)

    def message(self) -> dict[str, Any]:
        """Return the answer as a turn."""
        turn: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.reasoning:
            turn["reasoning_content"] = self.reasoning
        if self.refusal:
            turn["refusal"] = self.refusal
        if self.tool_calls:
            turn["tool_calls"] = [self.tool_calls[i] for i in sorted(self.tool_calls)]
        return turn


@dataclass(slots=True)
class ReadReply:
    """A reply, as far as it came and can be read."""

    id: str | None = None
    model: str | None = None
    choices: dict[int, Choice] = field(default_factory=dict)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_reply(raw: bytes) -> ReadReply:
    """Read a reply; what is odd in it is left out, and what is cut off counts as far as it came."""
    reply = ReadReply()
    for part in _objects(raw):
        _add(reply, part)
    return reply


def _objects(raw: bytes) -> Iterator[Mapping[str, Any]]:
    text = raw.decode("utf-8", "replace")
    texts = [text] if text.lstrip()[:1] == "{" else _events(text)
    for each in texts:
        try:
            value = json.loads(each)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, Mapping):
            yield value


def _events(text: str) -> Iterator[str]:
    """Yield the data of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    data: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def _add(reply: ReadReply, part: Mapping[str, Any]) -> None:
    for name in ("id", "model"):
        if getattr(reply, name) is None and isinstance(part.get(name), str):
            setattr(reply, name, part[name])
    usage = _map(part.get("usage"))
    for name in ("prompt_tokens", "completion_tokens"):
        value = usage.get(name)
        if isinstance(value, int) and 0 <= value < 1 << 40:
            setattr(reply, name, value)
    for choice in _list(part.get("choices")):
        if isinstance(choice, Mapping):
            number = choice.get("index", 0)
            if isinstance(number, int) and 0 <= number < 1 << 10:
                _add_choice(reply.choices.setdefault(number, Choice()), choice)


def _add_choice(mine: Choice, part: Mapping[str, Any]) -> None:
    turn = _map(part.get("delta")) or _map(part.get("message"))
    mine.content += _text(turn.get("content"))
    mine.reasoning += next((text for name in _REASONING if (text := _text(turn.get(name)))), "")
    mine.refusal += _text(turn.get("refusal"))
    for place, call in enumerate(_list(turn.get("tool_calls"))):
        if isinstance(call, Mapping):
            number = call.get("index", place)
            _add_call(mine.tool_calls.setdefault(number if isinstance(number, int) else place, {}), call)
    if isinstance(part.get("finish_reason"), str):
        mine.finish_reason = part["finish_reason"]
    for token in _list(_map(part.get("logprobs")).get("content")):
        value = _map(token).get("logprob")
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            mine.logprobs.append(float(value))


def _add_call(mine: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name in ("id", "type"):
        if isinstance(part.get(name), str):
            mine.setdefault(name, part[name])
    function = mine.setdefault("function", {"name": "", "arguments": ""})
    for name in ("name", "arguments"):
        function[name] += _text(_map(part.get("function")).get(name))


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
