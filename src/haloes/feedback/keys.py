"""
Identities of prompts, completions and rows, and random draws that depend on nothing but a row's content and a seed.

Rows that share a prompt or a completion share a key, whatever file, order or spelling they came in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.records import Feedback, FeedbackRow, Message, Record, Text, Where

Int64s: TypeAlias = NDArray[np.int64]
"""An index array of 64-bit numbers, usually one a row."""

NO_NUMBER = 0
"""Placeholder in index arrays for a row without conversation or user; no name gets this number."""


def prompt_key(prompt: Text) -> str:
    """
    Return the identity of a prompt's words: 128 bits in hexadecimal.

    A text and a single user message of the same words are the same prompt; whitespace at the ends does not count.
    """
    return _hash(_canonical(prompt, role="user"))


def group_of(row: FeedbackRow) -> str:
    """Return the name of a row's prompt: its explicit `group`, else the `prompt_key` of its prompt."""
    return row.group if row.group is not None else prompt_key(row.prompt)


def completion_key(row: Feedback) -> str:
    """
    Return the identity of a completion of its prompt: 128 bits in hexadecimal.

    It rests on the words of both, as a model sees them: a text and a single assistant message of the same words are the
    same completion, and whitespace at the ends does not count. Labels, scores and raters do not matter: rows with
    one key are votes on one completion.
    """
    return _hash([_canonical(row.prompt, role="user"), _canonical(row.completion, role="assistant")])


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The identities in a row, hashed once for all who count by them."""

    prompt: str
    """`prompt_key` of its prompt's words."""
    group: str
    """`group_of` the row."""
    answers: tuple[str, ...]
    """`completion_key` of each of its answers."""


def keys_of(row: FeedbackRow, answers: Sequence[Feedback]) -> RowKeys:
    """Return the identities in a row, of which these are the answers: itself, or the two halves of a pair."""
    prompt = prompt_key(row.prompt)
    answer_keys = tuple(completion_key(answer) for answer in answers)
    return RowKeys(prompt, prompt if row.group is None else row.group, answer_keys)


def number_of(name: str) -> int:
    """Hash a name (of a prompt, conversation or user) to a stable signed 64-bit number, never `NO_NUMBER`."""
    # Not Python's hash(), which differs between processes. surrogatepass: names may hold half of a surrogate pair.
    number = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)
    return number if number != NO_NUMBER else 1


def group_number(row: FeedbackRow) -> int:
    """Return the row's prompt as a signed 64-bit number, for index arrays."""
    return number_of(group_of(row))


def conversation_number(row: FeedbackRow) -> int:
    """Return the row's conversation as a signed 64-bit number; `NO_NUMBER` where it names none."""
    return NO_NUMBER if row.conversation is None else number_of(row.conversation)


def user_number(row: FeedbackRow) -> int:
    """Return the row's user as a signed 64-bit number; `NO_NUMBER` where it names none."""
    return NO_NUMBER if row.user is None else number_of(row.user)


def row_number(row: Feedback) -> int:
    """
    Return the row as a signed 64-bit number: its prompt, its completion, and its id, conversation and user.

    Neither the label nor the score is part of it, so a draw that belongs to a row stays when they are changed.
    """
    return number_of(json.dumps([completion_key(row), row.id, row.conversation, row.user]))


def seeded_hash(number_N: Int64s, *, seed: int, purpose: str) -> NDArray[np.uint64]:
    """
    Hash each number, (N,), to a random-looking 64-bit number: a pure function of it, the seed and the purpose.

    Different purposes give unrelated draws for one seed. The mixing is the finaliser of splitmix64
    (Steele, Lea and Flood, 2014), which is one-to-one: different numbers never get the same draw.
    """
    salt = np.uint64(number_of(f"{purpose} {seed}") % 2**64)
    z_N = number_N.astype(np.uint64) ^ salt
    z_N = (z_N ^ (z_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z_N = (z_N ^ (z_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z_N ^ (z_N >> np.uint64(31))


def seeded_uniform(number_N: Int64s, *, seed: int, purpose: str) -> NDArray[np.float64]:
    """Draw a uniform in [0, 1) for each number, (N,): a pure function of it, the seed and the purpose."""
    # A double has 53 bits of mantissa: the highest 53 of the 64, as a fraction.
    return (seeded_hash(number_N, seed=seed, purpose=purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def where_of(row: Record, *, position: int) -> Where:
    """Return the place that a row was read from; for a row made in memory, its position in the stream, from 1."""
    return row.where if row.where is not None else Where("row", position)


def _canonical(text: Text, *, role: str) -> list[object]:
    if isinstance(text, str):
        return [[role, text.strip()]]
    return [_canonical_message(message) for message in text]


def _canonical_message(message: Message) -> list[object]:
    words: list[object] = [message.role, message.content.strip()]
    return [*words, message.tool_calls] if message.tool_calls else words


def _as_dict(value: object) -> dict[str, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a tool call holds {value!r}, which has no JSON form")


# ASCII output: text that is not valid Unicode (a lone surrogate) has a key as well.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_as_dict)


def _hash(value: object) -> str:
    return blake2b(_ENCODER.encode(value).encode("ascii"), digest_size=16).hexdigest()
