"""From the tokens that a model wrote to its answer: without the marks around it, and with its thought apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from haloes.thoughts import opening_at_end, split_thought
from haloes.tokens.template import Template

_END_OF_PROMPT = 32
"""Tokens in which the mark that opens a thought stands, whatever the tokenizer."""


@dataclass(frozen=True, slots=True)
class Said:
    """The parts of an answer."""

    words: str
    reasoning: str
    """Words of the thought before the answer; empty without one."""
    finished: bool
    """Whether the model ended the answer itself; one that is over inside its thought is none."""


def read_answer(
    template: Template, prompt: Sequence[int], answer: Sequence[int], ends: frozenset[int], *, ended: bool
) -> Said:
    """
    Read what a model wrote: without its end, special tokens, and the header that the model writes itself.

    Args:
        template: how the tokenizer writes a turn.
        prompt: the ids that the model was given, whose end may open a thought.
        answer: the ids that it wrote.
        ends: ids that end a turn.
        ended: whether the model came to such an end.
    """
    tokenizer = template.tokenizer
    ids = list(answer[:-1] if answer and answer[-1] in ends else answer)
    # The marks of a thought are special tokens for some tokenizers.
    written: str = tokenizer.decode(ids, skip_special_tokens=False)
    opened = opening_at_end(tokenizer.decode(list(prompt[-_END_OF_PROMPT:]), skip_special_tokens=False)) is not None
    thought = split_thought(written, opened=opened) if template.chat else None
    if thought is None:
        plain: str = tokenizer.decode(ids, skip_special_tokens=True)
        return Said(template.spoken(written) if template.marks.framed else plain, "", ended)
    return Said(template.spoken(thought.rest), template.without_marks(thought.text).strip(), ended and thought.closed)
