"""
What a model thinks before it answers, as texts mark it: <think> ... </think> and its kind.

Only a thought at the very beginning of an answer is one: what stands inside an answer belongs to it.
"""

import re
from dataclasses import dataclass

KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of a turn under which tools keep its thought; chat templates read one or the other."""

_TAG = "<(?P<name>think(?:ing)?|seed:think)>"
_CHANNEL = r"<\|channel\|>analysis<\|message\|>"
_OPENING = re.compile(rf"\s*(?:{_TAG}|(?P<bracket>\[THINK\])|(?P<moon>◁think▷)|(?P<channel>{_CHANNEL}))", re.IGNORECASE)
_INSIDE = re.compile(r"<(?:think(?:ing)?|seed:think)>|\[THINK\]|◁think▷", re.IGNORECASE)
_OPEN_AT_END = re.compile(rf"(?:{_TAG}|(?P<bracket>\[THINK\])|(?P<moon>◁think▷))\s*\Z", re.IGNORECASE)
_ANY_CLOSING = r"(?:</(?:think(?:ing)?|seed:think)>|\[/THINK\]|◁/think▷)"
_CLOSING = re.compile(_ANY_CLOSING, re.IGNORECASE)
_CLOSED_AT_END = re.compile(rf"{_ANY_CLOSING}\s*\Z", re.IGNORECASE)
# A closing without its opening ends a thought that the prompt began; in prose it would not have a line to itself.
_CLOSING_ON_A_LINE = re.compile(rf"(?:\n[ \t]*{_ANY_CLOSING}|{_ANY_CLOSING}[ \t]*\n)", re.IGNORECASE)

_SIGNS = ("think", "THINK", "Think", "<|channel|>")
"""Every mark has one of them: most texts have none, and to search for these takes a hundredth of the time."""
_LAST = (">", "]", "▷")
_END = 64
"""Characters at the end of a prompt in which a mark stands, with whitespace after it."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A text divided into the thought that it begins with, and the rest."""

    lead: str
    """The thought as it stands, with its marks and the whitespace after them."""
    text: str
    """Its words alone."""
    rest: str
    closed: bool
    """False where the text ends before the thought does; `rest` is empty then."""
    marked: bool = True
    """False where the mark that opens it is missing, because the prompt has it."""


def split_thought(text: str, *, opened: bool = False) -> Thought | None:
    """
    Divide an answer into the thought at its beginning and the rest; None where it begins with none.

    Args:
        text: the answer, as the model wrote it.
        opened: whether the prompt has begun the thought (see `opening_at_end`), so that the answer need not.
    """
    if not opened and not any(map(text.__contains__, _SIGNS)):
        return None
    opening = _OPENING.match(text)
    start = opening.end() if opening else 0
    if opening:
        closing = re.compile(re.escape(_closing_of(opening)), re.IGNORECASE).search(text, start)
    else:
        closing = (_CLOSING if opened else _CLOSING_ON_A_LINE).search(text)
    if closing is None:
        return (
            Thought(text, text[start:].strip(), "", closed=False, marked=bool(opening)) if opening or opened else None
        )
    before, rest = text[start : closing.start()], text[closing.end() :].lstrip()
    # One that began inside the answer is the answer's own.
    if not (opening or opened) and _INSIDE.search(before):
        return None
    return Thought(text[: len(text) - len(rest)], before.strip(), rest, closed=True, marked=bool(opening))


def opening_at_end(prompt: str) -> str | None:
    """Return the mark that closes the thought that a rendered prompt ends by opening; None where it opens none."""
    end = prompt[-_END:].rstrip()
    found = _OPEN_AT_END.search(end) if end.endswith(_LAST) else None
    return _closing_of(found) if found else None


def is_closed_at_end(prompt: str) -> bool:
    """Return whether a rendered prompt ends with a closed thought, so that the model answers without thinking."""
    end = prompt[-_END:].rstrip()
    return end.endswith(_LAST) and _CLOSED_AT_END.search(end) is not None


def closing_after(text: str, start: int) -> int | None:
    """Return where the thought that goes on at `start` is over, whitespace included; None where no mark ends it."""
    found = re.compile(rf"{_ANY_CLOSING}\s*|<\|end\|>", re.IGNORECASE).search(text, start)
    return found.end() if found else None


def _closing_of(opening: "re.Match[str]") -> str:
    groups = opening.groupdict()
    if groups.get("bracket"):
        return "[/THINK]"
    if groups.get("moon"):
        return "◁/think▷"
    return "<|end|>" if groups.get("channel") else f"</{groups['name']}>"
