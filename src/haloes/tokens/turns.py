"""One turn of the model as text: what it thought, what it answered, and which of the two is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from haloes.errors import DataError
from haloes.records import Message
from haloes.thoughts import KEYS, Thought, split_thought


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered conversation; `trained` where its words are the policy's own."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the model, as it follows what inference sees."""

    thought: str
    """What the model writes before its answer to think, or the empty block in its place; empty without either."""
    answer: str
    agrees: bool
    reasons: bool = False
    shows_reasoning: bool = False

    @property
    def text(self) -> str:
        """Return all that the model writes, or is taken to have written."""
        return self.thought + self.answer

    def segments(self, *, trains_reasoning: bool) -> list[Segment]:
        """Return the turn's segments; reasoning is trained only if it is wanted, and an empty block never."""
        # An empty block of thoughts is nobody's: the log does not say that the model did not think.
        thought = Segment(self.thought, trained=trains_reasoning and self.shows_reasoning)
        return [*([thought] if self.thought else []), Segment(self.answer, trained=True)]


def part_thought(answer: Message, *, opened: bool = False) -> tuple[Thought | None, Message]:
    """
    Divide an assistant's turn into its thought, beside its words or before them, and the turn without it.

    Args:
        answer: the turn.
        opened: whether the prompt has begun the thought, so that the words need not.
    """
    beside = next(
        (value for key, value in answer.extra if key in KEYS and isinstance(value, str) and value.strip()), ""
    )
    inline = split_thought(answer.content, opened=opened)
    # An answer without any mark is one, also where the prompt opens a thought: logs often leave the thought out.
    if inline and not inline.closed and not inline.marked:
        inline = None
    if inline is None and not any(key in KEYS for key, _ in answer.extra):
        return None, answer
    content = inline.rest if inline else answer.content
    bare = replace(answer, content=content, extra=tuple(item for item in answer.extra if item[0] not in KEYS))
    if beside:
        return Thought("", beside.strip(), content, closed=True), bare
    return (inline if inline and inline.text else None), bare


def same_words(one: str, other: str) -> bool:
    """Return whether two texts are the same but for whitespace."""
    return "".join(one.split()) == "".join(other.split())


def as_gone_on(turn: Turn, rest: str) -> Turn:
    """Return a turn as a later one saw it: without an empty block of thoughts that the template then leaves out."""
    # The model saw its thought, and then it did not: no one text is what it was trained on.
    for possible in (turn, turn if turn.reasons else replace(turn, thought="")):
        if rest.startswith(possible.text):
            return possible
    raise DataError(
        "the chat template rewrites earlier turns, so a completion of several turns cannot be trained as "
        "it was seen; give each rated answer as a completion of its own, the earlier turns as its prompt"
    )


def join_segments(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return the segments, neighbours as one where both are trained or both are not, as they are one text."""
    return tuple(
        Segment("".join(segment.text for segment in group), trained=trained)
        for trained, group in groupby(segments, key=lambda segment: segment.trained)
    )
