"""
An index of who voted how on what: numbers and no text, so that any number of rows can be counted after one reading.

About 45 bytes a verdict. Names of people and of models are kept once each. The doctor's index (`doctor.vote_index`) is
one of answers, of which a pair has two, with places and lengths that only it needs; a run fills this one alone.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from haloes.feedback.convert import unpair
from haloes.feedback.keys import RowKeys, keys_of, number_of
from haloes.feedback.reasoning import split_reasoning
from haloes.feedback.times import seconds_of
from haloes.records import Feedback, FeedbackRow, Pair, plain_text

UNKNOWN = -1
"""Stands for a person, a model, a time or a label that the row does not name."""

Column: TypeAlias = "array[int]"

# Arrays of machine numbers: a Python list would take four times the memory.
_int8, _int32, _int64 = partial(array, "b"), partial(array, "i"), partial(array, "q")


@dataclass(slots=True)
class Votes:
    """Columns of numbers, one entry a verdict: a thumb, a score or a comparison."""

    label: Column = field(default_factory=_int8)
    """1 up, 0 down; `UNKNOWN` of a score without a label and of a comparison."""
    person: Column = field(default_factory=_int32)
    """Number in `people`."""
    model: Column = field(default_factory=_int32)
    """Number in `models` of the model that answered."""
    seconds: Column = field(default_factory=_int64)
    """When it was given, in seconds since 1970."""
    words: Column = field(default_factory=_int32)
    """Words of the answer, without reasoning; `UNKNOWN` of a comparison."""
    characters: Column = field(default_factory=_int32)
    """Its characters, likewise."""
    answer: Column = field(default_factory=_int64)
    """Hash of the words of prompt and answer; of a comparison, of both answers."""
    prompt: Column = field(default_factory=_int64)
    """Hash of the prompt, or of the group that the row names."""
    people: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of verdicts."""
        return len(self.label)

    def add(self, row: FeedbackRow, answers: Sequence[Feedback] | None = None, keys: RowKeys | None = None) -> None:
        """Add the verdict of a row, whose `spoken_answers` and `keys_of` these are, if they are known already."""
        answers = spoken_answers(row) if answers is None else answers
        keys = keys_of(row, answers) if keys is None else keys
        thumb = row.label if isinstance(row, Feedback) else None
        model = row.model if isinstance(row, Feedback) else None
        seconds = seconds_of(row.rated_at)
        self.label.append(UNKNOWN if thumb is None else thumb)
        self.person.append(UNKNOWN if row.user is None else self.people.setdefault(row.user, len(self.people)))
        self.model.append(UNKNOWN if model is None else self.models.setdefault(model, len(self.models)))
        self.seconds.append(UNKNOWN if seconds is None else int(seconds))
        text = None if isinstance(row, Pair) else plain_text(answers[0].completion)
        self.words.append(UNKNOWN if text is None else len(text.split()))
        self.characters.append(UNKNOWN if text is None else len(text))
        self.answer.append(number_of(" ".join(keys.answers)))
        self.prompt.append(number_of(keys.group))


def spoken_answers(row: FeedbackRow) -> list[Feedback]:
    """Return the answers of a row, a pair's two halves, each without the reasoning that it came with."""
    answers = []
    for half in unpair([row]):
        if isinstance(half, Feedback):
            words, _ = split_reasoning(half.completion)
            answers.append(half if words == half.completion else replace(half, completion=words))
    return answers
