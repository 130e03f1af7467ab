"""
From a judge's words to a verdict, or to the reason why there is none.

Each rule is strict: where a reply could be read in two ways it holds no verdict. Guessing would be a verdict that the
judge did not give.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from haloes.records import Verdict

Labels: TypeAlias = Mapping[Verdict, str]
"""The label with which a judge writes each verdict."""
Extracted: TypeAlias = tuple[Verdict | None, str]
"""The verdict, and what it was taken from or why there is none."""

_WRAPPING = " \t\r\n\"'`*_.,:;!()“”‘’"
_NAMES = "(?:think(?:ing)?|thoughts?|reasoning|seed:think)"
_OPENS = rf"(?:<{_NAMES}>|\[THINK\]|◁think▷|<\|channel\|>(?!final))"
_CLOSES = rf"(?:</{_NAMES}>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>)"
"""With what models begin and end their thoughts; the channels are those of gpt-oss."""
_OPEN_THOUGHT = re.compile(_OPENS, re.IGNORECASE)
_THOUGHT_MARK = re.compile(rf"({_OPENS})|{_CLOSES}", re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(neither|nor|both|either|not|cannot|unable|worse|worst|less|equal(?:ly)?|same|tie[ds]?|without|except|if|unless"
    r"|hard to say)\b|n['’]t\b",
    re.IGNORECASE,
)
_QUOTED = 80


def extract(reply: str, labels: Labels, rule: str) -> Extracted:
    """
    Return the verdict in a reply, or None and the reason.

    What a reasoning model thought aloud (<think> ... </think>) is left aside, also where its first tag is missing: chat
    templates write that one themselves. A thought without its end holds no verdict.

    Args:
        reply: the judge's words.
        labels: label with which the judge was asked to write each verdict.
        rule: a name in `RULES`.

    Returns:
        The verdict and what it was taken from; None and the reason where the reply holds none.
    """
    said = _without_thoughts(reply).strip()
    # Cut off while thinking, a model has often named both answers, and decided on neither.
    if _OPEN_THOUGHT.search(said):
        return None, "the reply ends inside a thought, before any verdict"
    if not said:
        return None, "the reply is a thought and nothing else" if reply.strip() else "the reply is empty"
    return RULES[rule](said, labels)


def _without_thoughts(reply: str) -> str:
    """Return what is said outside of thoughts; one that began before the reply is taken out, one without end stays."""
    # Mark by mark: a pattern of a whole thought would look for its end again from each of many beginnings.
    kept, start, opened = [], 0, -1
    for mark in _THOUGHT_MARK.finditer(reply):
        if mark[1]:
            opened = mark.start() if opened < 0 else opened
            continue
        if opened >= 0:
            kept.append(reply[start:opened])
        else:
            kept.clear()
        start, opened = mark.end(), -1
    return "".join([*kept, reply[start:]])


def _whole(said: str, labels: Labels) -> Extracted:
    """Take a reply that is a label and nothing else, but for quotes and full stops."""
    bare = said.strip(_WRAPPING)
    for verdict, label in labels.items():
        if bare == label.strip(_WRAPPING):
            return verdict, f"the reply is {label!r}"
    return None, f"the reply is none of {_listed(labels)}: {_short(said)}"


def _last(said: str, labels: Labels) -> Extracted:
    """Take the last line that holds labels, if it holds only one of them, however often."""
    for line in reversed(said.splitlines()):
        verdicts = [verdict for verdict, label in labels.items() if label in line]
        if len(verdicts) == 1:
            return verdicts[0], f"the last line with a verdict says {labels[verdicts[0]]!r}: {_short(line)}"
        if verdicts:
            return None, f"the last line with a verdict names several: {_short(line)}"
    return None, f"the reply holds none of {_listed(labels)}: {_short(said)}"


def _named(said: str, labels: Labels) -> Extracted:
    """Take a reply that names one label only, and does not hedge."""
    bare = said.strip(_WRAPPING).casefold()
    for verdict, label in labels.items():
        if bare == label.casefold():
            return verdict, f"the reply is {label!r}"
    named = [verdict for verdict, label in labels.items() if _mentions(said, label)]
    if not named:
        return None, f"the reply names none of {_listed(labels)}: {_short(said)}"
    if len(named) > 1:
        return None, f"the reply names {_listed(labels, named)}: {_short(said)}"
    if hedge := _HEDGE.search(said):
        return None, f"the reply names {labels[named[0]]!r}, but says {hedge[0]!r}: {_short(said)}"
    return named[0], f"the reply names {labels[named[0]]!r} alone: {_short(said)}"


RULES: Mapping[str, Callable[[str, Labels], Extracted]] = MappingProxyType(
    {"whole": _whole, "last": _last, "named": _named}
)
"""Rules by the name with which a template says where in the reply its verdict stands."""


def _mentions(said: str, label: str) -> bool:
    words = r"\s+".join(re.escape(word) for word in label.split())
    return re.search(rf"(?<!\w){words}(?![\w])(?!\.\d)", said, re.IGNORECASE) is not None


def _listed(labels: Labels, only: list[Verdict] | None = None) -> str:
    return " and ".join(repr(label) for verdict, label in labels.items() if only is None or verdict in only)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…")
