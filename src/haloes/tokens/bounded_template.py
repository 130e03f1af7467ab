"""
Chat templates whose loops come to an end: a model's folder may be anybody's, and a template is a program.

Jinja's sandbox keeps a template from the machine, but not from taking hours: `range` is bounded, and loops inside loops
are not, nor is a macro that calls itself twice. So each round of a loop and each call of a macro is counted in the
template itself, where everything that renders it counts. What is rendered stays the same to the letter.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from haloes.errors import ModelError

_Token: TypeAlias = tuple[str, str]
"""Jinja's name of a token's kind, and its text."""

_RANGE, _RANGES = 100_000, 3
"""The longest range of Jinja's sandbox, and how many are counted through."""
MOST_STEPS = _RANGE * _RANGES
"""Rounds of loops and calls of macros while one conversation is written, some seconds. A conversation of a hundred
turns takes a few hundred, and ten thousand where the template looks at all turns for each."""
TOO_MANY = f"more than {MOST_STEPS:,} rounds of its loops and calls of its macros for one conversation"
_REPEATED = frozenset({"for", "macro", "call", "block"})
"""Tags whose body may be carried out more than once."""
_BLOCK = 20
"""Steps of a block: to begin one takes as long as so many rounds of a loop."""
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def bounded_template(tokenizer: Any, tools: Any = None) -> str:
    """
    Return the chat template that a tokenizer takes, with its steps counted; it raises an error with TOO_MANY in it.

    Raises:
        ModelError: the template has a power in it, which may take hours without a loop.
        jinja2.TemplateError: it is no template.
    """
    return _bounded(tokenizer.get_chat_template(tools=tools))


@lru_cache(maxsize=16)
def _bounded(source: str) -> str:
    from jinja2 import Environment

    own = "haloes_"
    while own in source:  # a template that knew the names could set them back
        own += "_"
    # Ranges that are used up one by one, as each `first` takes what comes next: nothing else in a sandbox can count
    # inside an expression. They are lazy, and so cost nothing before.
    counts = [f"{own}{i}" for i in range(_RANGES)]
    begin = "".join(f"{{% set {name} = range({_RANGE}) | batch(1) %}}" for name in counts)
    step = " or ".join([*(f"({name} | first) is defined" for name in counts), f"{own}stop('{TOO_MANY}')"])
    # As transformers reads templates: a line break after a tag belongs to the tag.
    lexed = Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False).lex(source)  # noqa: S701
    tokens = [(kind, text) for _, kind, text in lexed]
    if ("operator", "**") in tokens:
        raise ModelError("the chat template raises a number to a power, which may take hours: it is not rendered")
    return f"{begin}{{% set {own}stop = raise_exception %}}\n{''.join(_counting(tokens, step))}"


def _counting(tokens: Iterable[_Token], step: str) -> Iterator[str]:
    """Yield the text of a template that takes a step in each body that may be repeated, and in each loop's filter."""
    tag: list[_Token] = []
    for token in tokens:
        kind, text = token
        if kind != "block_begin" and not tag:
            yield text
            continue
        tag.append(token)
        if kind == "block_end":
            name = next((text for kind, text in tag if kind == "name"), "")
            yield "".join(_with_filter(tag, step) if name == "for" else (text for _, text in tag))
            if name in _REPEATED:
                # What follows stands where it stood: at a line's beginning, or behind a tag that keeps its line break.
                taken = f"{{% if {step} %}}{{% endif %}}" * (_BLOCK if name == "block" else 1)
                yield f"{taken}\n" if text.endswith("\n") else f"{taken.removesuffix('%}')}+%}}"
            tag = []


def _with_filter(tag: list[_Token], step: str) -> list[str]:
    """Return the text of `{% for x in y if z %}` with a step before its filter, if it has one."""
    texts, depth, place = [text for _, text in tag], 0, None
    for i, (kind, text) in enumerate(tag):
        if kind == "operator":
            depth += (text in _OPENING) - (text in _CLOSING)
        elif depth == 0 and (kind, text) == ("name", "if") and place is None:
            place = i
    if place is None:
        return texts
    words = [i for i, (kind, _) in enumerate(tag) if kind not in {"whitespace", "block_end"} and i > place]
    # "recursive" at the end is no part of the filter, unless it is all of it.
    end = words[-1] if len(words) > 1 and tag[words[-1]] == ("name", "recursive") else len(tag) - 1
    return [*texts[: place + 1], f" ({step}) and (", *texts[place + 1 : end], ") ", *texts[end:]]
