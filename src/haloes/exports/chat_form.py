r"""
A chat template as a table of the texts that stand between its turns, learnt from what it writes.

Most templates write a turn's words as they are, with marks around them that depend on whose turn comes before and
after: "<|im_end|>\n<|im_start|>assistant\n" stands between a user's words and the answer. The table of these texts is
all of such a template, for conversations without tools. Where the template does anything else, the table would write
other texts than the template does, and `learn_form` says so.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from haloes.errors import DataError
from haloes.records import Message
from haloes.tokens.template import Template

Place: TypeAlias = Literal["start", "system", "user", "assistant", "answer"]
"""Whose words stand before or after a text; "start" is the beginning, and "answer" what the model writes next."""

_Roles: TypeAlias = tuple[Literal["system", "user", "assistant"], ...]
_NEEDED: tuple[_Roles, ...] = (("user",), ("user", "assistant", "user", "assistant", "user"))
_WITH_SYSTEM: _Roles = ("system", "user", "assistant", "user", "assistant", "user")
"""A template may refuse it, or pass over the system's words."""
_SYSTEM_LATER: _Roles = ("user", "assistant", "system", "user")
"""Some templates write a later system turn like another role's, which the form then leaves out."""


@dataclass(frozen=True, slots=True)
class ChatForm:
    """The texts between turns."""

    between: Mapping[tuple[Place, Place], str]

    def render(self, turns: Sequence[Message]) -> str:
        """Return the text of a conversation up to the model's answer. Raises KeyError for turns that are unknown."""
        places: list[Place] = ["start", *(_place(turn) for turn in turns), "answer"]
        texts = [self.between[pair] for pair in pairwise(places)]
        words = [turn.content for turn in turns]
        return "".join(part for pair in zip(texts, [*words, ""], strict=True) for part in pair)

    def go_template(self) -> str:
        """
        Return the form as a template of Ollama's, which is one of Go's text/template.

        Turns at places that the form does not know (a tool's result, or any system turn of a template that refuses
        them) are passed over.
        """
        words = "{{ .Content }}{{ $at = .Role }}"
        turns = [(pair, text) for pair, text in self.between.items() if pair[1] != "answer"]
        cases = "{{ else ".join(
            f'if and (eq $at "{before}") (eq .Role "{after}") }}}}{_literal(text)}{words}'
            for (before, after), text in turns
        )
        answer = f'{{{{ if eq $at "user" }}}}{_literal(self.between["user", "answer"])}{{{{ end }}}}'
        return f'{{{{ $at := "start" }}}}{{{{ range .Messages }}}}{{{{ {cases}{{{{ end }}}}{{{{ end }}}}{answer}'


def learn_form(template: Template, *, opening: str) -> ChatForm | None:
    """
    Return the form of a chat template; None where it does more than writing texts between turns.

    Args:
        template: the tokenizer's.
        opening: what stands before every text and is not the form's to write: BOS, where the reader puts it there.
    """
    between: dict[tuple[Place, Place], str] = {}
    for roles in (*_NEEDED, _WITH_SYSTEM, _SYSTEM_LATER):
        text = _rendered(template, roles)
        if text is None and roles in _NEEDED:
            return None
        if text is None:
            continue
        written = _cut(text.removeprefix(opening), roles)
        # Another text at the same place: it depends on more than the two turns around it.
        if written is not None and all(between.get(pair, text) == text for pair, text in written):
            between.update(written)
        elif roles != _SYSTEM_LATER:
            return None
    return ChatForm(between)


def _words(roles: _Roles) -> list[str]:
    """Return words for each turn that no template has."""
    return [f"haloes{role}{k}words" for k, role in enumerate(roles)]


def _rendered(template: Template, roles: _Roles) -> str | None:
    """Return what a template writes; None where it refuses the conversation, or passes over a system turn."""
    turns = tuple(Message(role, words) for role, words in zip(roles, _words(roles), strict=True))
    try:
        text = template.prompt(turns)
    except DataError:
        return None
    passed_over = any(turn.role == "system" and turn.content not in text for turn in turns)
    return None if passed_over else text


def _cut(text: str, roles: _Roles) -> list[tuple[tuple[Place, Place], str]] | None:
    """Return the texts between the words of a conversation; None where these do not stand there once, in order."""
    pieces = []
    for words in _words(roles):
        before, found, text = text.partition(words)
        if not found or words in text:
            return None
        pieces.append(before)
    places: list[Place] = ["start", *roles, "answer"]
    return list(zip(pairwise(places), [*pieces, text], strict=True))


def _place(turn: Message) -> Place:
    known: Mapping[str, Place] = {"system": "system", "user": "user", "assistant": "assistant"}
    return known[turn.role]


def _literal(text: str) -> str:
    # A string of Go is written like one of JSON; inside braces, so that nothing in it is taken for an action.
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""
