"""
Spans of OpenTelemetry: their attributes under the names of OpenInference, the GenAI conventions and MLflow.

Attributes may be flat ("llm.input_messages.0.message.role"), nested, or partly JSON in a text.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haloes.feedback.importers.call import read_call
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, parsed
from haloes.feedback.refusals import RefusalError
from haloes.records import Message

_INDEXED = re.compile(r"(?P<number>\d{1,6})\.(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a span says of an answer."""

    before: tuple[Message, ...]
    answer: tuple[Message, ...]
    model: str | None
    user: str | None
    conversation: str | None


def span_id(span: Mapping[str, Any]) -> str | None:
    """Return the id of a span."""
    return as_id(span.get("span_id")) or as_id(at(span, "context", "span_id")) or as_id(span.get("context.span_id"))


def trace_id(span: Mapping[str, Any]) -> str | None:
    """Return the id of the trace that a span is in."""
    return as_id(span.get("trace_id")) or as_id(at(span, "context", "trace_id")) or as_id(span.get("context.trace_id"))


def is_root(span: Mapping[str, Any]) -> bool:
    """Return whether a span has no parent."""
    return not any(span.get(name) for name in ("parent_id", "parent_span_id", "parentSpanId"))


def attributes_of(span: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a span's attributes: under "attributes", or as columns such as "attributes.input.value"."""
    inside = as_map(span.get("attributes"))
    columns = {
        name.removeprefix("attributes."): value
        for name, value in span.items()
        if name.startswith("attributes.") and value is not None
    }
    return {**inside, **columns}


def attribute(attributes: Mapping[str, Any], name: str) -> Any:
    """Return an attribute by its dotted name, flat or nested; None where there is none."""
    if name in attributes:
        return parsed(attributes[name])
    head, _, rest = name.partition(".")
    while rest:
        inside = parsed(attributes.get(head))
        if isinstance(inside, Mapping) and (found := attribute(inside, rest)) is not None:
            return found
        more, _, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def as_json(value: object) -> object:
    """Return what a text spells as JSON, a quoted text too: MLflow writes every attribute so; else the value itself."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def read_span(span: Mapping[str, Any]) -> Answered:
    """
    Return the answer of a span, and the turns before it.

    Raises:
        RefusalError: The span holds none, or holds no answer of a model.
    """
    given = attributes_of(span)
    before, answer = _messages(given)
    user, conversation = whose(given)
    return Answered(
        before=before,
        answer=answer,
        model=_first(given, "llm.model_name", "gen_ai.response.model", "gen_ai.request.model", "mlflow.chat.model"),
        user=user,
        conversation=conversation,
    )


def whose(attributes: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the user and the conversation that attributes of a span name."""
    return _first(attributes, "user.id", "enduser.id"), _first(attributes, "session.id", "gen_ai.conversation.id")


def _messages(given: Mapping[str, Any]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    asked, said = _listed(given, "llm.input_messages"), _listed(given, "llm.output_messages")
    if asked and said:
        return read_messages(asked), read_messages(said)
    asked, said = attribute(given, "gen_ai.input.messages"), attribute(given, "gen_ai.output.messages")
    if asked is not None and said is not None:
        system = attribute(given, "gen_ai.system_instructions")
        first = () if system is None else read_messages([{"role": "system", "parts": as_list(system)}])
        return first + read_messages(asked), read_messages(said)
    if (value := attribute(given, "output.value")) is not None:
        return read_call(attribute(given, "input.value"), value)
    if (value := as_json(given.get("mlflow.spanOutputs"))) is not None:
        return read_call(as_json(given.get("mlflow.spanInputs")), value)
    raise RefusalError("answer not in the export", "the span has no messages, and neither input nor output")


def _listed(given: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return OpenInference's messages as turns."""
    return [_message(each) for each in numbered(given, name)]


def numbered(given: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the items of a list, which may be spelled as numbered names: "name.0.x", "name.1.x"."""
    items: dict[int, Any] = dict(enumerate(as_list(attribute(given, name))))
    for key, inside in given.items():
        place = _INDEXED.fullmatch(key.removeprefix(f"{name}.")) if key.startswith(f"{name}.") else None
        if place is not None and isinstance(item := items.setdefault(int(place["number"]), {}), dict):
            item[place["rest"]] = inside
    return [as_map(items[number]) for number in sorted(items)]


def _message(flat: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one message of OpenInference as a turn of the OpenAI shape."""
    words = _attribute_of(flat, "message.content")
    if words is None:
        words = "".join(
            text
            for each in numbered(flat, "message.contents")
            if isinstance(text := attribute(each, "message_content.text"), str)
        )
        kinds = {attribute(each, "message_content.type") for each in numbered(flat, "message.contents")}
        if kinds - {"text", None}:
            raise RefusalError("images", "a message holds more than text; only text can be trained on")
    calls = [
        {
            "id": attribute(each, "tool_call.id"),
            "function": {
                "name": attribute(each, "tool_call.function.name"),
                "arguments": _attribute_of(each, "tool_call.function.arguments"),
            },
        }
        for each in numbered(flat, "message.tool_calls")
    ]
    turn: dict[str, Any] = {"role": attribute(flat, "message.role"), "content": words or ""}
    if calls:
        turn["tool_calls"] = calls
    if (answered := attribute(flat, "message.tool_call_id")) is not None:
        turn["tool_call_id"] = answered
    return turn


def _attribute_of(flat: Mapping[str, Any], name: str) -> Any:
    """Return an attribute as it stands: words that happen to be JSON stay words."""
    return flat[name] if name in flat else at(flat, *name.split("."))


def _first(given: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if (text := as_text(attribute(given, name))) is not None), None)
