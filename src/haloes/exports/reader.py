"""The interface of a program that reads an exported file, so that it can be asked what the run's model is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from haloes.records import Prompt


@dataclass(frozen=True, slots=True)
class Step:
    """One token of a greedy answer."""

    token: int
    logprobs: Mapping[int, float]
    """Natural logarithms of the probabilities of the likeliest tokens; none where the program tells none."""


class Reader(Protocol):
    """Reads a file as a program of the field does."""

    @property
    def by(self) -> Literal["llama.cpp", "transformers"]:
        """Return the program's name."""
        ...

    def prompt_ids(self, prompt: Prompt, *, chat: bool) -> list[int]:
        """Return the ids of a prompt, by the file's chat template or as a text. Raises RunError for one it refuses."""
        ...

    def greedy(self, ids: Sequence[int], *, most: int) -> list[Step]:
        """Return at most so many likeliest next tokens, the one that ends the turn included."""
        ...

    def stops_at(self, ids: Sequence[int], token: int) -> bool:
        """Return whether an answer to these ids is over with this token."""
        ...
