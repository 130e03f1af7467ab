"""
What tools write where a turn's words stand (text, blocks, parts, items of the Responses API) as `Message`s.

Reasoning is kept apart from the words, in a message's `extra` as `reasoning_content`, wherever the tool had it: in a
field of its own, an item, a block, between `<think>` marks at the beginning of the text (`haloes.thoughts`), or folded
in it (`feedback.reasoning`). Images, audio, video and files are refused ("images"): what the answer was about could not
be shown to the model.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from haloes.feedback.importers.values import MAPPING, as_text, at, first_of, parsed, parsed_twice
from haloes.feedback.messages import clean_json, clean_text
from haloes.feedback.reasoning import (
    folded_blocks,
    is_reasoning_part,
    join_reasoning,
    reasoning_of_fields,
    reasoning_of_part,
    unfolded,
)
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.roles import ROLES
from haloes.records import Message
from haloes.thoughts import split_thought

REASONING = "reasoning_content"
"""Name under which a message's `extra` holds what the model thought before it answered."""

_TEXT = ("text", "input_text", "output_text", "markdown", "refusal")
_CALL = {"tool_use", "tool_call", "function_call", "tool-call", "server_tool_use"}
_RESULT = {"tool_result", "tool_call_response", "function_call_output", "tool-result", "web_search_tool_result"}
_NO_WORDS = {
    "step-start",
    "step-finish",
    "source",
    "source-url",
    "source-document",
    "start-step",
    "finish-step",
    "agent_update",
}
_MEDIA = re.compile("image|audio|video|file|document")
_WORDS_ALONE = frozenset({"role", "content"})
"""Keys of a turn that says nothing but its words."""
_MOST_LEVELS = 60
"""Blocks and turns inside each other."""


def read_messages(value: object, *, role: str = "user") -> tuple[Message, ...]:
    """
    Return the messages that a value of an export holds.

    Read are a text; JSON in a text; a turn or a list of turns (role and content, LangChain's type and content,
    OpenTelemetry's role and parts); the blocks of one turn; items of the Responses API; and these inside of the usual
    wrappings ({"messages": ...}, {"choices": [{"message": ...}]}, {"output": [items]}).

    Args:
        value: The value.
        role: Role of words that stand without one.

    Raises:
        RefusalError: It is none of these, or holds more than text, reasoning and tool calls.
    """
    return tuple(_joined(_turns(value, role=role, levels=_MOST_LEVELS)))


@dataclass(slots=True)
class _Turn:
    """A turn that still grows."""

    role: str
    words: str = ""
    thoughts: list[str] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    goes_on: bool = False
    """Whether the next turn of the same role is a part of it: items of one answer."""

    def message(self) -> Message:
        extra = self.extra
        if self.thoughts and (thought := join_reasoning(self.thoughts)):
            extra = extra | {REASONING: thought}
        return Message(self.role, self.words, tuple(self.calls), tuple(extra.items()))

    def is_empty(self) -> bool:
        return not (self.words or self.calls or self.thoughts)


def _joined(turns: Iterator[_Turn]) -> Iterator[Message]:
    """Yield the messages of turns, of which items of one answer are put together."""
    last: _Turn | None = None
    for turn in turns:
        # Words behind a call are said after its result, or are a turn of their own where the export lacks that.
        if (
            last is not None
            and last.goes_on
            and turn.goes_on
            and last.role == turn.role
            and not (last.calls and turn.words)
        ):
            last.words = "\n".join(filter(None, (last.words, turn.words)))
            last.thoughts += turn.thoughts
            last.calls += turn.calls
            continue
        if last is not None and not (last.goes_on and last.is_empty()):
            yield last.message()
        last = turn
    if last is not None and not (last.goes_on and last.is_empty()):
        yield last.message()


def _turns(value: object, *, role: str, levels: int) -> Iterator[_Turn]:
    """Yield the turns of any value that stands for some."""
    if levels < 0:
        raise RefusalError("wrong type", f"turns are nested more than {_MOST_LEVELS} levels deep")
    if isinstance(value, str):
        shaped = parsed(value)
        if isinstance(shaped, str) or not _is_chat(shaped):
            yield from _of_text(value, role=role)
            return
        value = shaped
    if isinstance(value, MAPPING):
        yield from _of_mapping(value, role=role, levels=levels)
    elif isinstance(value, list | tuple):
        yield from _of_list(value, role=role, levels=levels)
    elif value is not None:
        raise RefusalError("wrong type", f"{short_repr(value)} is neither text nor turns of a chat")


def _is_chat(value: object) -> bool:
    """Return whether what a text spells as JSON is turns, and not an answer that happens to be JSON."""
    if isinstance(value, MAPPING):
        said = any(name in value for name in ("content", "parts", "tool_calls", "kwargs", "summary", "call_id"))
        wrapped = any(isinstance(value.get(name), list) for name in ("messages", "choices", "output"))
        return (
            wrapped
            or (_role(value) is not None and said)
            or ((str(value.get("type")) in _TEXT or is_reasoning_part(value)) and "text" in value)
        )
    return (
        isinstance(value, list) and bool(value) and all(isinstance(item, MAPPING) and _is_chat(item) for item in value)
    )


def _of_mapping(value: Mapping[str, Any], *, role: str, levels: int) -> Iterator[_Turn]:
    if (own := _role(value)) is not None:
        for turn in _of_turn(value, role=own, levels=levels):
            turn.goes_on = value.get("type") == "message"  # an item among those of one answer
            yield turn
        return
    for name in ("messages", "output", "generations"):
        if isinstance(value.get(name), list):
            yield from _turns(value[name], role="assistant" if name != "messages" else role, levels=levels - 1)
            return
    if isinstance(value.get("choices"), list):
        yield from _turns(at(next(iter(value["choices"]), None), "message"), role="assistant", levels=levels - 1)
        return
    for name in ("message", "content", "parts"):
        if value.get(name) is not None and "type" not in value:
            yield from _turns(value[name], role=role, levels=levels - 1)
            return
    yield from _of_block(value, role=role, levels=levels)


def _of_list(value: "list[Any] | tuple[Any, ...]", *, role: str, levels: int) -> Iterator[_Turn]:
    for item in value:
        if isinstance(item, MAPPING) and (_role(item) is not None or "type" not in item):
            yield from _of_mapping(item, role=role, levels=levels - 1)
        elif isinstance(item, MAPPING):
            yield from _of_block(item, role=role, levels=levels)
        elif isinstance(item, list):
            yield from (
                _of_list(item, role=role, levels=levels - 1) if levels > 0 else _turns(item, role=role, levels=-1)
            )
        else:
            yield from _of_text(item, role=role)


def _of_turn(value: Mapping[str, Any], *, role: str, levels: int) -> Iterator[_Turn]:
    """Yield the turns of a mapping that says its role: itself, and the results of tools that it holds."""
    value = value["kwargs"] | {"role": role} if isinstance(value.get("kwargs"), MAPPING) else value
    content = first_of(value, "content", "parts", "value", "text")
    if isinstance(content, str) and role != "assistant" and value.keys() <= _WORDS_ALONE:  # as most turns are
        yield _Turn(role, clean_text(content, subject=f"the {role} turn"))
        return
    parts = [] if content is None or content == "" else content
    turn = _Turn(role)
    for part in _pieces(parts, role=role, levels=levels):
        if part.role == role and not part.extra:  # a tool's result says which call it answers
            # Parts are pieces of one text: nothing is put between them.
            if turn.calls and part.words:
                yield turn
                turn = _Turn(role)
            turn.words += part.words
            turn.thoughts += part.thoughts
            turn.calls += part.calls
        else:
            if not turn.is_empty():
                yield turn
            yield part
            turn = _Turn(role)
    _add_fields(turn, value)
    if not turn.is_empty() or not parts:
        yield turn


def _pieces(parts: object, *, role: str, levels: int) -> Iterator[_Turn]:
    if isinstance(parts, str):
        yield from _of_text(parts, role=role)
    elif isinstance(parts, MAPPING):
        yield from _of_block(parts, role=role, levels=levels)
    elif isinstance(parts, list | tuple):
        for part in parts:
            if isinstance(part, MAPPING):
                yield from _of_block(part, role=role, levels=levels)
            else:
                yield from _of_text(part, role=role)
    else:
        raise RefusalError("wrong type", f"the content of a turn is {short_repr(parts)}, not text")


def _add_fields(turn: _Turn, value: Mapping[str, Any]) -> None:
    """Add what a turn says beside its content: reasoning, tool calls, the call that a tool's result answers."""
    if thought := reasoning_of_fields(value):
        turn.thoughts.insert(0, clean_text(thought, subject="the reasoning"))
    calls = first_of(value, "tool_calls", "toolCalls") or at(value, "additional_kwargs", "tool_calls")
    if isinstance(calls, list):
        turn.calls += [_call(call) for call in calls if isinstance(call, MAPPING)]
    elif isinstance(value.get("function_call"), MAPPING):
        turn.calls.append(_call(value["function_call"]))
    if turn.role == "tool":
        for name, given in (
            ("tool_call_id", first_of(value, "tool_call_id", "toolCallId")),
            ("name", value.get("name")),
        ):
            if (text := as_text(given)) is not None:
                turn.extra[name] = clean_text(text, subject=name)


def _of_block(block: Mapping[str, Any], *, role: str, levels: int) -> Iterator[_Turn]:
    """Yield the turn of one block, part or item, marked as one that goes on."""
    kind = str(block.get("type") or "")
    if levels < 0:
        raise RefusalError("wrong type", f"turns are nested more than {_MOST_LEVELS} levels deep")
    if kind == "message":
        yield from _pieces(block.get("content") or "", role=role, levels=levels - 1)
    elif is_reasoning_part(block):
        thought = clean_text(reasoning_of_part(block), subject="the reasoning")
        yield _Turn(role, thoughts=[thought], goes_on=True)
    elif kind in _RESULT:
        yield _result(block)
    elif kind in _CALL or kind.startswith("tool-") or kind == "dynamic-tool":
        yield _Turn(role, calls=[_call(block)], goes_on=True)
        if block.get("output") is not None and kind not in _CALL:
            yield _result(block)
    elif kind in _TEXT or (not kind and isinstance(first_of(block, "text", "content"), str)):
        yield from _of_text(_words(block), role=role)
    else:
        _check_ignored(block, kind)


def _check_ignored(block: Mapping[str, Any], kind: str) -> None:
    """Raise RefusalError for a part that says more than a mark between parts does."""
    # Gradio's files have no type, but a path.
    if _MEDIA.search(kind) or (not kind and "path" in block):
        raise RefusalError("images", f"a turn holds a part of type {kind or 'file'!r}; only text can be trained on")
    if kind not in _NO_WORDS and not kind.startswith(("open_webui:", "data-")):
        what = f"type {kind!r}" if kind else short_repr(dict(block))
        raise RefusalError("content part", f"a turn holds a part ({what}) that is not text")


def _words(block: Mapping[str, Any]) -> object:
    """Return the text of a block."""
    words = first_of(block, "text", "content", "refusal", "value")
    # OpenAI's assistants: {"text": {"value": ...}}
    return words.get("value") if isinstance(words, MAPPING) else words


def _of_text(text: object, *, role: str) -> Iterator[_Turn]:
    """Yield the turns of a text: one, or of an assistant's as many as the calls of tools that are written into it."""
    if not isinstance(text, str):
        raise RefusalError("wrong type", f"a part of a turn is {short_repr(text)}, not text")
    clean_text(text, subject=f"the {role} turn")
    if role != "assistant":
        yield _Turn(role, text, goes_on=True)
        return
    turn = _Turn(role, goes_on=True)
    for words, named, inside in folded_blocks(text):
        _say(turn, words)
        if named.get("type") == "reasoning":
            turn.thoughts.append(unfolded(inside))
        elif named.get("type") == "tool_calls" and named.get("name"):
            call, result = _written_call(named)
            turn.calls.append(call)
            yield turn
            yield result
            turn = _Turn(role, goes_on=True)
    yield turn


def _say(turn: _Turn, words: str) -> None:
    """Add words to a turn, without the thoughts that stand before them in marks of their own."""
    if not turn.words and (thought := split_thought(words)) is not None:
        turn.thoughts.append(thought.text)
        words = thought.rest
    turn.words = "\n".join(filter(None, (turn.words, words)))


def _written_call(named: Mapping[str, str]) -> tuple[Mapping[str, Any], _Turn]:
    """Return the call of a tool, and its result, that Open WebUI wrote into the text as attributes."""
    values = {name: parsed_twice(unescape(named.get(name, ""))) for name in ("arguments", "result")}
    call = _call({"id": named.get("id"), "name": unescape(named["name"]), "arguments": values["arguments"]})
    return call, _result({"output": values["result"], "call_id": named.get("id")})


def _call(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool call in the OpenAI shape."""
    function = block["function"] if isinstance(block.get("function"), MAPPING) else block
    kind = str(block.get("type") or "")
    name = first_of(function, "name", "toolName", "tool_name")
    if name is None and kind.startswith("tool-"):
        name = kind.removeprefix("tool-")
    if not isinstance(name, str):
        raise RefusalError("wrong type", f"a tool call has the name {short_repr(name)}")
    arguments = first_of(function, "arguments", "args", "input", "parameters")
    if not isinstance(arguments, str):
        arguments = json.dumps(clean_json(arguments, subject="a tool call") or {}, ensure_ascii=False)
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    identity = first_of(block, "call_id", "id", "toolCallId", "tool_call_id")
    given = {"id": identity} if isinstance(identity, str) else {}
    cleaned: Mapping[str, Any] = clean_json(given | call, subject="a tool call")
    return cleaned


def _result(block: Mapping[str, Any]) -> _Turn:
    """Return the turn of a tool's result."""
    output = first_of(block, "output", "content", "response", "result")
    if isinstance(output, list):
        output = "".join(part.words for part in _pieces(output, role="tool", levels=1))
    if not isinstance(output, str):
        output = json.dumps(clean_json(output, subject="a tool's result"), ensure_ascii=False)
    turn = _Turn("tool", clean_text(output, subject="a tool's result"))
    identity = first_of(block, "call_id", "tool_use_id", "tool_call_id", "toolCallId", "id")
    if isinstance(identity, str):
        turn.extra["tool_call_id"] = clean_text(identity, subject="tool_call_id")
    return turn


def _role(value: Mapping[str, Any]) -> str | None:
    """Return the role of a turn under our name for it; None for what has none."""
    for name in ("role", "from", "type"):
        given = value.get(name)
        if isinstance(given, str) and (role := ROLES.get(given.strip().lower())) and given not in _CALL:
            return role
    # LangChain's serialised messages say their class: ["langchain", "schema", "messages", "HumanMessage"].
    names = value.get("id")
    kind = names[-1] if isinstance(names, list) and names and isinstance(names[-1], str) else ""
    return (
        ROLES.get(kind.removesuffix("Chunk").removesuffix("Message").lower())
        if kind.endswith(("Message", "Chunk"))
        else None
    )
