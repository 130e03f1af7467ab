"""What a harness is asked for, and what it gives: the seam between haloes and lm-eval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from haloes.evaluation.bench.table import Benchmark

Render: TypeAlias = Callable[..., str]
"""A chat template: (messages, add_generation_prompt) to the text that goes to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, as a model is asked it."""

    subtask: str
    number: int
    """Its place among the subtask's rows."""
    prompt: str
    """The whole text, with examples and chat template."""
    row: str
    """Of the benchmark's data, as JSON."""
    requests: Any = field(default=None, repr=False, compare=False)
    """What the harness needs to put the question to a model."""

    @property
    def key(self) -> tuple[str, int]:
        """What is equal before and after."""
        return self.subtask, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model said to one question: a text, or the log-probability of each choice."""

    text: str | None = None
    logps: tuple[float, ...] | None = None
    greedy: tuple[bool, ...] | None = None
    """Whether each choice is what the model itself would have said."""
    cut: bool = False
    """The prompt was longer than the model's window leaves room for, and lost its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionScore:
    """What a reply is worth."""

    scores: Mapping[str, float | list[float]]
    """By metric and filter; a list where a question consists of parts."""
    extracted: Mapping[str, str]
    """What each filter took for the answer."""
    note: str = ""
    """Why it failed, where that is known."""


class HarnessModel(Protocol):
    """A loaded model that can be asked."""

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        """The replies, in the order of the questions; together they are one batch."""


class Loaded(Protocol):
    """A benchmark with its rows."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many questions each subtask has."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What decides prompts and scores: the definition's version, number of examples, most tokens of an answer."""

    def questions(self, chosen: Mapping[str, Sequence[int]], render: Render | None) -> list[Question]:
        """The chosen questions of each subtask (ascending), through the chat template if one is given."""

    def score(self, question: Question, reply: Reply) -> QuestionScore:
        """Raises DataError where the definition does not fit the row."""


class Harness(Protocol):
    """Defines benchmarks: their prompts, their examples, and how replies are scored."""

    @property
    def version(self) -> str:
        """Of the harness, for the record."""

    def require(self, benchmarks: Sequence[Benchmark]) -> None:
        """Raise ConfigError where something is not installed; says how to install it. Loads no model."""

    def load(self, benchmark: Benchmark, data: Path | None) -> Loaded:
        """
        The definition and its rows, from a local folder or the hub.

        Raises ConfigError or DataError where they cannot be had; loads no model.
        """

    def model(self, model: Any, tokenizer: Any) -> HarnessModel:
        """Make a transformers model one that can be asked."""
