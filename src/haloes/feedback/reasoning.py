"""
Reasoning that tools keep with an assistant's turn, taken to one place: `reasoning_content` in the turn's `extra`.

It stands in a field of the turn, in a part of its content, or in the text between `<details type="reasoning">` marks,
which a page shows folded. Marks that a model writes itself (<think>) stay in the text as they are: the chat template of
a model knows them, and `haloes.tokens` divides the answer there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import unescape
from typing import Any

from haloes.records import Message, Text
from haloes.thoughts import KEYS, split_thought

_PARTS = frozenset({"reasoning", "thinking", "redacted_thinking", "think"})
"""Types of parts that hold reasoning (AI SDK, Anthropic, Mistral)."""
_OPENING, _CLOSING, _SUMMARY = "<details", "</details>", "</summary>"
# What comes before is looked at, so that a long word is no beginning of a name at each of its letters.
_ATTRIBUTE = re.compile(r'(?<![\w-])([\w-]+)="([^"]*)"')


def is_reasoning_part(part: object) -> bool:
    """Return whether a part of a content holds reasoning."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return isinstance(kind, str) and kind in _PARTS


def reasoning_of_part(part: Mapping[str, Any]) -> str:
    """Return the words of a part that holds reasoning: a text, or a list of parts with texts; empty without any."""
    for name in ("thinking", "text", "reasoning", "reasoningText", "summary", "content", "think"):
        value = part.get(name)
        if isinstance(value, list | tuple):
            value = "".join(str(item["text"]) for item in value if isinstance(item, Mapping) and item.get("text"))
        if isinstance(value, str) and value:
            return value
    return ""


def reasoning_of_fields(turn: Mapping[str, Any]) -> str:
    """Return the text of the first field of a turn that holds reasoning; empty where none does."""
    for key in KEYS:
        value = turn.get(key)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def folded_blocks(text: str, *, types: Sequence[str] = ()) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """
    Yield the words before each block that a tool wrote as `<details type="...">`, its attributes, and what is in it.

    The words after the last block come last, with nothing. Details without a type are the model's own words. Each
    character is looked at once or twice: a text of nothing but openings takes no longer than any other.

    Args:
        text: The text of an assistant's turn.
        types: Types of the blocks that are wanted; others are words. Nothing: all are.
    """
    start = end = 0
    while (opening := text.find(_OPENING, end)) >= 0:
        inside = text.find(">", opening)
        closing = text.find(_CLOSING, inside) if inside >= 0 else -1
        if closing < 0:
            break
        attributes, end = dict(_ATTRIBUTE.findall(text, opening, inside)), closing + len(_CLOSING)
        if "type" in attributes and (not types or attributes["type"] in types):
            # The block's own line breaks go with it.
            yield text[start:opening].strip("\n"), attributes, text[inside + 1 : closing]
            start = end
    yield text[start:].lstrip("\n") if start else text, {}, ""


def without_details(text: str) -> tuple[str, str]:
    """Return a text without the reasoning that is folded in it, and that reasoning; (text, "") where there is none."""
    kept, thoughts = [], []
    for words, attributes, inside in folded_blocks(text, types=("reasoning",)):
        kept.append(words)
        thoughts += [unfolded(inside)] if attributes else []
    return "".join(kept), "\n".join(filter(None, thoughts))


def split_reasoning(completion: Text) -> tuple[Text, bool]:
    """Return a completion without the reasoning in its words, and whether it came with some, there or beside them."""
    if isinstance(completion, str):
        thought = split_thought(completion)
        return (completion, False) if thought is None else (thought.rest, bool(thought.text))
    turns: list[Message] = []
    reasons = False
    for turn in completion:
        thought = split_thought(turn.content) if turn.role == "assistant" else None
        beside = turn.role == "assistant" and any(key in KEYS for key, _ in turn.extra)
        reasons = reasons or beside or (thought is not None and bool(thought.text))
        turns.append(turn if thought is None else replace(turn, content=thought.rest))
    return tuple(turns), reasons


def join_reasoning(texts: Sequence[str]) -> str:
    """Return several texts of reasoning as one, each once: tools may keep the same words in two places."""
    return "\n".join(dict.fromkeys(text.strip() for text in texts if text.strip()))


def unfolded(inside: str) -> str:
    """Return the words of a folded block, without its summary and the ">" that its lines begin with."""
    _, found, after = inside.partition(_SUMMARY)
    # Escaped as a whole, the ">" of the lines too (Open WebUI since 0.5).
    lines = unescape(after if found else inside).strip().split("\n")
    return "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines).strip()
