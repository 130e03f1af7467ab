"""
An index of votes that holds numbers and no text, so that any number of rows can be counted after one reading.

About 200 bytes an answer. Texts and names are kept as 64-bit hashes, lengths as numbers.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.keys import RowKeys, conversation_number, number_of
from haloes.records import Feedback, FeedbackRow, Pair, Where, plain_text

NO_LABEL = -1
NO_USER = -1

LengthUnit: TypeAlias = Literal["characters", "words"]
Column: TypeAlias = "array[int]"


# Arrays of machine numbers: a Python list would take four times the memory.
_int8, _int32, _int64 = partial(array, "b"), partial(array, "i"), partial(array, "q")


def _lengths() -> dict[LengthUnit, Column]:
    return {"characters": _int32(), "words": _int32()}


@dataclass(slots=True)
class VoteIndex:
    """
    Columns of numbers: one entry a row in `content`, `file` and `line`, one a vote in the others; a pair has two votes.

    Texts and names are there as 64-bit numbers: equal numbers, equal texts.
    """

    content: Column = field(default_factory=_int64)
    """Hash of the whole row: prompt, completion and label, or both completions of a pair."""
    file: Column = field(default_factory=_int32)
    """Number in `files` of the file that the row was read from."""
    line: Column = field(default_factory=_int64)
    row: Column = field(default_factory=_int64)
    """Number of the vote's row, from 0."""
    label: Column = field(default_factory=_int8)
    """1 desirable, 0 undesirable, or `NO_LABEL`."""
    group: Column = field(default_factory=_int64)
    prompt: Column = field(default_factory=_int64)
    """Hash of the prompt's words, whatever group the row names."""
    answer: Column = field(default_factory=_int64)
    """Hash of the words of prompt and completion."""
    conversation: Column = field(default_factory=_int64)
    user: Column = field(default_factory=_int32)
    """Number in `users` of the rater, or `NO_USER`."""
    prompt_length: dict[LengthUnit, Column] = field(default_factory=_lengths)
    completion_length: dict[LengthUnit, Column] = field(default_factory=_lengths)
    files: dict[str, int] = field(default_factory=dict)
    """Number of each file's name."""
    users: dict[str, int] = field(default_factory=dict)
    """Number of each user's name."""
    weights: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})
    """Sum of the rows' weights by label."""

    def where(self, row: int) -> str:
        """Return the place that a row was read from, as `file:line`."""
        name = next(name for name, number in self.files.items() if number == self.file[row])
        return str(Where(name, self.line[row]))


def add_row(votes: VoteIndex, row: FeedbackRow, answers: Sequence[Feedback], keys: RowKeys, where: Where) -> None:
    """Add a row and its answers (itself, or the two halves of a pair), of which these are the `keys_of`."""
    votes.content.append(number_of(f"{keys.answers} {_verdict(row)}"))
    votes.file.append(votes.files.setdefault(where.path, len(votes.files)))
    votes.line.append(where.line)
    # Both are kept: where they disagree, a group holds several prompts or a prompt stands under several groups.
    for answer, key in zip(answers, keys.answers, strict=True):
        votes.row.append(len(votes.content) - 1)
        votes.group.append(number_of(keys.group))
        votes.prompt.append(number_of(keys.prompt))
        votes.answer.append(number_of(key))
        votes.conversation.append(conversation_number(answer))
        votes.user.append(NO_USER if answer.user is None else votes.users.setdefault(answer.user, len(votes.users)))
        votes.label.append(NO_LABEL if answer.label is None else answer.label)
        if answer.label is not None:
            votes.weights[answer.label] += answer.weight
        _add_length(votes.prompt_length, plain_text(answer.prompt))
        _add_length(votes.completion_length, plain_text(answer.completion))


def as_array(column: Column) -> NDArray[np.int64]:
    """Copy a column into a NumPy array of 64-bit numbers."""
    return np.array(column, dtype=np.int64)


def _verdict(row: FeedbackRow) -> object:
    if isinstance(row, Pair):
        return "pair"
    return row.score if row.label is None else row.label


def _add_length(columns: dict[LengthUnit, Column], text: str) -> None:
    columns["characters"].append(len(text))
    columns["words"].append(len(text.split()))
